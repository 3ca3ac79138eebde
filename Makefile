# fp4lab: `make help` lists the targets.
# Variables: PROFILE=smoke|default|full  THREADS=n  SEED=n  OFFLINE=1  OUT=folder  BUILD=folder  SAN=1 (ASan + UBSan)

.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

BUILD   ?= build
PROFILE ?= default
THREADS ?= $(shell nproc 2>/dev/null || echo 1)
SEED    ?= 1
OUT     ?= out/$(PROFILE)
PREFIX  ?= /usr/local
PYTHON  ?= python3
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif

# -ffp-contract=off: the formats are defined in fp32 operation order; a fused multiply-add would change codes.
WARNINGS := -Wall -Wextra -Wpedantic -Werror
OPTIMIZE := -O3 -g -fno-math-errno -fno-trapping-math -ffp-contract=off
ifeq ($(SAN),1)
OPTIMIZE := -O1 -g -fno-math-errno -ffp-contract=off -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
PKGS     := jansson libpcre2-8 libcrypto
CPPFLAGS += -Ilib/include -I. -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   := -std=c11 $(WARNINGS) $(OPTIMIZE) -fopenmp $(EXTRA_CFLAGS)
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lRmath -ldl -lm
AVX2   := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl

# ---- sources: folders are the registry ----
LIB_SRC   := $(sort $(shell find lib -name '*.c'))
STATS_SRC := $(sort $(filter-out stats/main_%.c,$(wildcard stats/*.c)))
EXP_SRC   := $(sort $(filter-out experiments/main_%.c,$(wildcard experiments/*.c)))
TOOL_SRC  := $(sort $(wildcard tools/*.c))
# A file main_NAME.c in experiments/, stats/ or tools/main_*.c is the program build/NAME.
PROGRAMS  := $(patsubst experiments/main_%.c,$(BUILD)/%,$(wildcard experiments/main_*.c)) \
             $(patsubst stats/main_%.c,$(BUILD)/%,$(wildcard stats/main_*.c)) \
             $(if $(TOOL_SRC),$(BUILD)/fp4lab)
TEST_SRC  := $(sort $(wildcard tests/test_*.c))
TESTS     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SRC))
TEST_COMMON := $(sort $(filter-out tests/test_%.c,$(wildcard tests/*.c)))

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call objects,$(LIB_SRC)) $(addprefix $(BUILD)/obj/gen/,formats.o methods.o recipes.o)

# ---- build ----
.PHONY: build lib tests-build
build: $(PROGRAMS) $(BUILD)/libfp4lab.a ## build the library and all programs
lib: $(BUILD)/libfp4lab.a

# Registries: every lib/formats/NAME.c defines `const struct fp4_format fp4_format_NAME`, and so on.
# Files in lib/formats/core and so on are not entries.
$(BUILD)/gen/%.c: ci/registry $(wildcard lib/formats/*.c lib/methods/*.c lib/recipes/*.c) FORCE
	@mkdir -p $(@D)
	@ci/registry $* > $@.new && { cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }
FORCE:
.PHONY: FORCE

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(BUILD)/obj/lib/kernels/cpu/avx2/%.o: CFLAGS += $(AVX2)
$(BUILD)/obj/lib/kernels/cpu/avx512/%.o: CFLAGS += $(AVX512)
$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(BUILD)/libfp4lab.a: $(LIB_OBJ)
	@rm -f $@
	ar rcs $@ $^
$(BUILD)/libstats.a: $(call objects,$(STATS_SRC))
	@rm -f $@
	ar rcs $@ $^
$(BUILD)/libexperiments.a: $(call objects,$(EXP_SRC))
	@rm -f $@
	ar rcs $@ $^
LIBS := $(BUILD)/libexperiments.a $(BUILD)/libstats.a $(BUILD)/libfp4lab.a

link = $(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIBS) $(LDLIBS) $(EXTRA_LIBS) -o $@
$(patsubst experiments/main_%.c,$(BUILD)/%,$(wildcard experiments/main_*.c)): $(BUILD)/%: $(BUILD)/obj/experiments/main_%.o $(LIBS)
	$(link)
$(patsubst stats/main_%.c,$(BUILD)/%,$(wildcard stats/main_*.c)): $(BUILD)/%: $(BUILD)/obj/stats/main_%.o $(LIBS)
	$(link)
$(BUILD)/fp4lab: $(call objects,$(TOOL_SRC)) $(LIBS)
	$(link)
tests-build: $(TESTS)
$(BUILD)/tests/%: EXTRA_LIBS := -lcriterion
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(TEST_COMMON)) $(LIBS)
	@mkdir -p $(@D)
	$(link)

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# ---- tests ----
.PHONY: test
test: $(TESTS) build ## build and run the test suites only (no set-up, no report)
	ci/test $(BUILD)

.PHONY: clean help
clean: ## remove everything that was built
	rm -rf $(BUILD)
help: ## this list
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
