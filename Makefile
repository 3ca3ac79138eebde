# fp4lab: `make help` lists the targets, ci/ holds what they run.
# Variables: PROFILE=smoke|default|full  THREADS=n  SEED=n  OFFLINE=1  OUT=folder  BUILD=folder  CC=gcc|clang-14
#            MINUTES=n TARGETS="gguf config" (fuzz)
#            SAN=1 (ASan + UBSan)  PREFIX= DESTDIR= (install)  FP4LAB_GOLDEN=folder (check-golden)

.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

BUILD   ?= build
PROFILE ?= default
THREADS ?= $(shell nproc 2>/dev/null || echo 1)
SEED    ?= 1
OFFLINE ?=
OUT     ?= out/$(PROFILE)
PREFIX  ?= /usr/local
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
ifeq ($(FUZZ),1)
OPTIMIZE := -O2 -g -fno-math-errno -ffp-contract=off -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
# pkg-config may not be there yet when `make report` starts on a bare machine: set-up comes first, and the build is a make of its own.
PKGS     := jansson libpcre2-8 libcrypto libutf8proc libcurl
CPPFLAGS += -Ilib/include -I. -D_GNU_SOURCE -MMD -MP $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CFLAGS   := -std=c11 $(WARNINGS) $(OPTIMIZE) -pthread $(EXTRA_CFLAGS)
CXXFLAGS := -std=c++17 $(WARNINGS) $(OPTIMIZE) $(EXTRA_CFLAGS)
LDLIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lRmath -ldl -lm
AVX2   := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
ifeq ($(SAN),1)
# The fake stack of detect_stack_use_after_return is not aligned to the 64 bytes of a vector (GCC bug 110027): a spilled one would trap.
AVX512 += --param asan-use-after-return=0
endif

# ---- sources: folders are the registry ----
LIB_SRC   := $(sort $(shell find lib -name '*.c'))
STATS_SRC := $(sort $(filter-out stats/main_%.c,$(wildcard stats/*.c)))
EXP_SRC   := $(sort $(filter-out experiments/main_%.c,$(wildcard experiments/*.c)))
TOOL_SRC  := $(sort $(wildcard tools/*.c))
BENCH_SRC := $(sort $(wildcard bench/*.c))
# A file main_NAME.c in experiments/ or stats/ is the program build/NAME; tools/ is build/fp4lab.
EXP_PROGRAMS   := $(patsubst experiments/main_%.c,$(BUILD)/%,$(wildcard experiments/main_*.c))
STATS_PROGRAMS := $(patsubst stats/main_%.c,$(BUILD)/%,$(wildcard stats/main_*.c))
PROGRAMS  := $(EXP_PROGRAMS) $(STATS_PROGRAMS) $(if $(TOOL_SRC),$(BUILD)/fp4lab)
TEST_SRC  := $(sort $(wildcard tests/test_*.c))
TESTS     := $(patsubst tests/%.c,$(BUILD)/tests/%,$(TEST_SRC))
FUZZ_COMMON := $(sort $(filter-out tests/fuzz/entry.c tests/fuzz/main_%.c,$(wildcard tests/fuzz/*.c)))
TEST_COMMON := $(sort $(filter-out tests/test_%.c,$(wildcard tests/*.c))) $(FUZZ_COMMON)
FUZZ_TARGETS := $(shell sed -n 's/.*{"\([a-z_]*\)", fuzz_[a-z_]*}.*/\1/p' tests/fuzz/fuzz.c)

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB_OBJ := $(call objects,$(LIB_SRC)) $(addprefix $(BUILD)/obj/gen/,formats.o methods.o recipes.o)

# ---- build ----
.PHONY: build lib tests-build
build: $(PROGRAMS) $(BUILD)/libfp4lab.a ## build the library and all programs
lib: $(BUILD)/libfp4lab.a ## build the library alone

# A stamp holds the value of STAMP_<name> and is rewritten only when that changes: other flags rebuild everything, an added or
# removed file remakes its archive.
STAMP_flags           := $(CC) $(CPPFLAGS) $(CFLAGS) $(AVX512) $(LDFLAGS) $(LDLIBS) $(shell $(CC) --version 2>/dev/null | head -n 1)
STAMP_libfp4lab       := $(LIB_OBJ)
STAMP_libstats        := $(STATS_SRC)
STAMP_libexperiments  := $(EXP_SRC)
STAMP_tools           := $(TOOL_SRC)
STAMP_tests           := $(TEST_COMMON)
STAMP_fuzz            := $(FUZZ_COMMON) $(FUZZ_TARGETS)
STAMP_bench           := $(CXX) $(CXXFLAGS) $(BENCH_SRC)
.PHONY: FORCE
FORCE:
$(BUILD)/stamp/%: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(STAMP_$*)' | cmp -s - $@ || printf '%s\n' '$(STAMP_$*)' >$@

# Registries: every lib/formats/NAME.c defines `const struct fp4_format fp4_format_NAME`, and so on.
# Files in lib/formats/core and so on are not entries.
$(BUILD)/gen/%.c: ci/registry FORCE
	@mkdir -p $(@D)
	@ci/registry $* >$@.new && { cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }

$(BUILD)/obj/gen/%.o: $(BUILD)/gen/%.c $(BUILD)/stamp/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
# Vectors are passed between inlined functions of one file only: GCC's notes on their ABI do not apply.
$(BUILD)/obj/lib/kernels/cpu/%/nn.o $(BUILD)/obj/lib/kernels/cpu/%/short.o: CFLAGS += -Wno-psabi
# Products of floats are exact in double: fused or not, the bits are the same (short_kernels.h).
$(BUILD)/obj/lib/kernels/cpu/%/short.o: CFLAGS += -ffp-contract=fast
$(BUILD)/obj/lib/kernels/cpu/avx2/%.o: CFLAGS += $(AVX2)
$(BUILD)/obj/lib/kernels/cpu/avx512/%.o: CFLAGS += $(AVX512)
$(BUILD)/obj/%.o: %.c $(BUILD)/stamp/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@
$(BUILD)/obj/%.o: %.cc $(BUILD)/stamp/flags $(BUILD)/stamp/bench
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -c $< -o $@

archive = rm -f $@ && ar rcs $@ $(filter %.o,$^)
$(BUILD)/libfp4lab.a: $(LIB_OBJ) $(BUILD)/stamp/libfp4lab
	$(archive)
$(BUILD)/libstats.a: $(call objects,$(STATS_SRC)) $(BUILD)/stamp/libstats
	$(archive)
$(BUILD)/libexperiments.a: $(call objects,$(EXP_SRC)) $(BUILD)/stamp/libexperiments
	$(archive)
LIBS := $(BUILD)/libexperiments.a $(BUILD)/libstats.a $(BUILD)/libfp4lab.a

link = $(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIBS) $(LDLIBS) $(EXTRA_LIBS) -o $@
$(EXP_PROGRAMS): $(BUILD)/%: $(BUILD)/obj/experiments/main_%.o $(LIBS)
	$(link)
$(STATS_PROGRAMS): $(BUILD)/%: $(BUILD)/obj/stats/main_%.o $(LIBS)
	$(link)
$(BUILD)/fp4lab: $(call objects,$(TOOL_SRC)) $(LIBS) $(BUILD)/stamp/tools
	$(link)
tests-build: $(TESTS)
$(BUILD)/tests/%: private EXTRA_LIBS := -lcriterion -lssl
$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(call objects,$(TEST_COMMON)) $(LIBS) $(BUILD)/stamp/tests
	@mkdir -p $(@D)
	$(link)
# These suites run the program itself.
$(BUILD)/tests/test_tool $(BUILD)/tests/test_memory_plan $(BUILD)/tests/test_hub_tool: | $(BUILD)/fp4lab
$(BUILD)/tests/test_hostile $(BUILD)/tests/test_experiments $(BUILD)/tests/test_facts: | $(PROGRAMS)
# The parser of fp4lab's command lines is in tools/, which is in no library; the fuzz targets call it.
FUZZ_TOOLS := $(BUILD)/obj/tools/options.o
$(TESTS): $(FUZZ_TOOLS)

# ---- fuzzing: one program, which runs the target that it is named after ----
$(BUILD)/fuzz-seeds: private EXTRA_LIBS := -lcriterion -lssl
$(BUILD)/fuzz-seeds: $(BUILD)/obj/tests/fuzz/main_seeds.o $(call objects,$(TEST_COMMON)) $(FUZZ_TOOLS) $(LIBS) $(BUILD)/stamp/tests
	$(link)
FUZZ_OBJ := $(call objects,tests/fuzz/entry.c tests/fuzz/fuzz.c $(wildcard tests/fuzz/target_*.c)) $(FUZZ_TOOLS)
.PHONY: fuzz-build
fuzz-build: $(addprefix $(BUILD)/fuzz/,$(FUZZ_TARGETS))
$(BUILD)/fuzz/all: $(FUZZ_OBJ) $(LIBS) $(BUILD)/stamp/fuzz
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) $(filter %.o,$^) $(LIBS) $(LDLIBS) -o $@
$(BUILD)/fuzz/%: $(BUILD)/fuzz/all
	@ln -f $< $@

# Google Benchmark is C++: its shim links with the C++ compiler.
$(BUILD)/bench: $(BUILD)/obj/bench/main.o $(call objects,$(BENCH_SRC)) $(LIBS) $(BUILD)/stamp/bench
	$(CXX) $(CXXFLAGS) $(LDFLAGS) $(filter %.o,$^) $(LIBS) $(LDLIBS) -lbenchmark -pthread -o $@

.SECONDARY:
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

# ---- what people run ----
# The scripts call make again: with our job slots when there are some, else with one job for each CPU.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(THREADS))
SCRIPT = MAKE='$(MAKE)' JOBS='$(JOBS)' BUILD='$(BUILD)' PROFILE='$(PROFILE)' THREADS='$(THREADS)' SEED='$(SEED)' OFFLINE='$(OFFLINE)' OUT='$(OUT)'

.PHONY: report check check-golden test mutants fuzz bench
report: ## everything: set-up, build, inputs, experiments, statistics, figures, REPORT.md and report.html in OUT; PROFILE= THREADS= SEED= OFFLINE=1 OUT=
	@+ci/bootstrap report
	@+$(SCRIPT) ci/suite
check: ## the one test command: set-up, build, all suites (again under ASan and UBSan), lints, clang, a whole smoke report
	@+ci/bootstrap report check
	@+$(SCRIPT) ci/check
check-golden: tests-build ## the golden suites alone, with the vectors of FP4LAB_GOLDEN=folder (default ../shared/golden), counted by folder
	@ci/golden $(BUILD)
test: $(TESTS) build ## build and run the test suites only (no set-up, no sanitizers, no report)
	@ci/test $(BUILD)
mutants: tests-build build ## plant each bug of tests/mutants in a copy and see the suites catch it
	@+$(SCRIPT) ci/mutants
fuzz: ## fuzz the readers of untrusted files with libFuzzer; MINUTES=n for each of TARGETS="..." (default: 1 minute of all); adds to tests/fuzz/ledger.jsonl
	@+ci/bootstrap report check
	@+$(SCRIPT) MINUTES='$(or $(MINUTES),1)' ci/fuzz $(TARGETS)
bench: $(BUILD)/bench ## measure speed and this machine's ceilings into OUT/bench.json
	@mkdir -p '$(OUT)'
	$(BUILD)/bench --threads=$(THREADS) --profile=$(PROFILE) --out='$(OUT)/bench.json'

# ---- installation ----

.PHONY: install uninstall clean help
install: build ## library, headers, fp4lab.pc, and programs into PREFIX= (below DESTDIR=)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/lib/pkgconfig' '$(DESTDIR)$(PREFIX)/include/fp4lab' '$(DESTDIR)$(PREFIX)/share/fp4lab'
	install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin'
	install -m 644 $(BUILD)/libfp4lab.a '$(DESTDIR)$(PREFIX)/lib'
	install -m 644 lib/include/fp4lab/*.h '$(DESTDIR)$(PREFIX)/include/fp4lab'
	install -m 644 LICENSE README.md '$(DESTDIR)$(PREFIX)/share/fp4lab'
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(shell sed -n 's/^#define FP4_VERSION "\(.*\)"/\1/p' lib/include/fp4lab/base.h)|' \
	    -e 's|@REQUIRES@|$(PKGS)|' fp4lab.pc.in >'$(DESTDIR)$(PREFIX)/lib/pkgconfig/fp4lab.pc'
uninstall: ## remove what `make install` put there
	cd '$(DESTDIR)$(PREFIX)' && rm -rf $(patsubst $(BUILD)/%,bin/%,$(PROGRAMS)) lib/libfp4lab.a lib/pkgconfig/fp4lab.pc include/fp4lab share/fp4lab
clean: ## remove everything that was built (not results)
	rm -rf $(BUILD) $(BUILD)-san $(BUILD)-clang $(BUILD)-fuzz
help: ## this list
	@awk -F':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@sed -n 's/^# \(Variables: .*\)/  \1/p; s/^#  \( *SAN=1 .*\)/  \1/p' $(firstword $(MAKEFILE_LIST))
