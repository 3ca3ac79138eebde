// Hands the C benchmarks of bench/ to Google Benchmark. Options of its own come first; what it does not know goes to Google Benchmark.
#include <benchmark/benchmark.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

extern "C" {
#include "bench/bench.h"
}

namespace {

int fail(const char *what, const char *why) {
    std::fprintf(stderr, "bench: %s: %s\n", what, why);
    return 2;
}

int usage() {
    std::puts("usage: bench [--threads=N] [--profile=smoke|default|full] [--out=FILE] [--list] [Google Benchmark's options]\n"
              "Measures kernels, models and this machine's ceilings; medians of repetitions in random order.\n\n"
              "  --threads=N    the largest number of threads measured (default: all processors)\n"
              "  --profile=P    smoke: small sizes, one repetition; default; full: longer and more repetitions\n"
              "  --out=FILE     JSON with the machine's description; written whole or not at all\n"
              "  --list         names of the benchmarks\n"
              "  --benchmark_filter=REGEX and the like: see Google Benchmark\n");
    return 0;
}

void measure(benchmark::State &state, const bench *b, void **prepared, bool *ready) {
    if (bench_enter(b) != FP4_OK || (!*ready && b->setup && b->setup(b, prepared) != FP4_OK)) {
        state.SkipWithError(fp4_last_error());
        return;
    }
    *ready = true;
    for (auto _ : state) {
        if (b->run(*prepared) != FP4_OK) {
            state.SkipWithError(fp4_last_error());
            break;
        }
    }
    const double n = static_cast<double>(state.iterations());
    using benchmark::Counter;
    if (b->bytes > 0)
        state.counters["bytes_per_second"] = Counter(b->bytes * n, Counter::kIsRate);
    if (b->flops > 0)
        state.counters["flops_per_second"] = Counter(b->flops * n, Counter::kIsRate);
    if (b->items > 0)
        state.counters[std::string(b->item) + "_per_second"] = Counter(b->items * n, Counter::kIsRate);
}

// The finished file under its name, without the line that tells this machine's name.
bool publish(const std::string &part, const std::string &out) {
    const std::string final_part = part + ".final";
    {
        std::ifstream in(part);
        std::ofstream file(final_part);
        for (std::string line; std::getline(in, line);)
            if (line.find("\"host_name\":") == std::string::npos)
                file << line << '\n';
        if (!in.eof() || !file.flush())
            return false;
    }
    return std::remove(part.c_str()) == 0 && std::rename(final_part.c_str(), out.c_str()) == 0;
}

struct prepared_benchmark {
    void *state = nullptr;
    bool ready = false;
};

}  // namespace

int main(int argc, char **argv) {
    bench_options options = {0, false};
    std::string out, profile = "default";
    bool list_only = false;
    std::vector<std::string> arguments = {argv[0]};
    for (int i = 1; i < argc; i++) {
        const std::string a = argv[i];
        if (a == "--help")
            return usage();
        if (a == "--list")
            list_only = true;
        else if (a.rfind("--threads=", 0) == 0)
            options.threads = std::atoi(a.c_str() + 10);
        else if (a.rfind("--profile=", 0) == 0)
            profile = a.substr(10);
        else if (a.rfind("--out=", 0) == 0)
            out = a.substr(6);
        else
            arguments.push_back(a);
    }
    if (profile != "smoke" && profile != "default" && profile != "full")
        return fail(profile.c_str(), "not a profile; take smoke, default or full");
    options.small = profile == "smoke";
    fp4_set_threads(options.threads);
    options.threads = fp4_threads();

    bench_list *list = nullptr;
    if (bench_collect(&options, &list) != FP4_OK)
        return fail("collect", fp4_last_error());
    if (list_only) {
        for (size_t i = 0; i < bench_count(list); i++)
            std::puts(bench_at(list, i)->name);
        return 0;
    }

    const std::string part = out + ".part";
    const char *repetitions = options.small ? "1" : profile == "full" ? "9" : "3";
    const char *seconds = options.small ? "0.01" : profile == "full" ? "0.5" : "0.01";
    arguments.insert(arguments.begin() + 1, {"--benchmark_repetitions=" + std::string(repetitions), "--benchmark_min_time=" + std::string(seconds),
                                             "--benchmark_enable_random_interleaving=true", "--benchmark_report_aggregates_only=true"});
    if (!out.empty()) {
        arguments.push_back("--benchmark_out=" + part);
        arguments.push_back("--benchmark_out_format=json");
    }
    std::vector<char *> pointers;
    for (std::string &a : arguments)
        pointers.push_back(a.data());
    int count = static_cast<int>(pointers.size());
    pointers.push_back(nullptr);
    benchmark::Initialize(&count, pointers.data());
    if (benchmark::ReportUnrecognizedArguments(count, pointers.data()))
        return fail("options", "see --help");
    if (bench_machine(options.threads, [](const char *name, const char *value) { benchmark::AddCustomContext(name, value); }) != FP4_OK)
        return fail("machine", fp4_last_error());

    std::vector<prepared_benchmark> prepared(bench_count(list));
    for (size_t i = 0; i < bench_count(list); i++) {
        const bench *b = bench_at(list, i);
        prepared_benchmark *p = &prepared[i];
        benchmark::RegisterBenchmark(b->name, [b, p](benchmark::State &state) { measure(state, b, &p->state, &p->ready); })->UseRealTime();
    }
    const size_t ran = benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    if (ran == 0)
        return fail("--benchmark_filter", "no benchmark of this name; see --list");
    if (!out.empty() && !publish(part, out))
        return fail(out.c_str(), std::strerror(errno));
    return 0;
}
