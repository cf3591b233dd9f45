// CUDA's driver and cuBLAS as far as src/driver/cuda.rs calls them, over the emulation.
//
// Compiled into libcuda.so.1 and libcublas.so.13 of the tests (build.rs, features cuda and emulation together), so
// that the code of the real device runs where there is none: order of calls, handles, arguments, shared memory that
// must be asked for, recording. What a real driver does beyond that is not imitated: nothing is asynchronous.

// What a test wants it to be is in the environment: IOTA_TEST_CUDA (the newest CUDA that it knows, 13000 if not set),
// IOTA_TEST_MEMORY (bytes), IOTA_TEST_FAILING (the number of the allocation that fails, for lack of memory, and of all
// after it).

#include "prelude.h"
#include <cstdlib>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <string>
#include <vector>

extern "C" const emulation::Kernel *emulation_kernel(const char *name);
extern "C" const char *emulation_launch(const char *name, const u32 *blocks, u32 threads, u32 shared, void **arguments,
                                        const u32 *sizes, u32 count);
extern "C" void emulation_product(u64 m, u64 n, u64 k, float alpha, float beta, const void *a, u64 lda, u32 transpose_a,
                                  const void *b, u64 ldb, u32 transpose_b, void *c, u64 ldc, u32 inputs_half,
                                  u32 output_half);

namespace {
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, PTX_TOO_NEW = 222, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_FAILED = 719, CAPTURE_UNSUPPORTED = 900 };
u64 wanted(const char *name, u64 otherwise) {
    const char *text = std::getenv(name);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}
const u64 MEMORY = wanted("IOTA_TEST_MEMORY", 1ull << 30);
const u64 CUDA = wanted("IOTA_TEST_CUDA", 13000);
u64 until_failure = wanted("IOTA_TEST_FAILING", ~0ull);

struct Function {
    const emulation::Kernel *kernel;
    u32 shared = 48 * 1024;
    bool ran = false;
};
using Graph = std::vector<std::function<int()>>;

int context, stream, pool, module_handle;
thread_local bool current_context;
std::map<std::string, Function> functions;
std::map<u64, u64> allocations;
u64 used, threshold;
bool capturing;
Graph recorded;

// Whether so many bytes from there are inside one allocation.
bool inside(u64 address, u64 bytes) {
    auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return false;
    --after;
    return address + bytes <= after->first + after->second;
}

int now_or_later(std::function<int()> work) {
    if (!current_context) return INVALID_CONTEXT;
    if (!capturing) return work();
    recorded.push_back(std::move(work));
    return OK;
}
} // namespace

extern "C" {
int cuInit(u32 flags) { return flags ? INVALID_VALUE : OK; }
int cuDriverGetVersion(int *version) { return *version = CUDA, OK; }
int cuDeviceGetCount(int *count) { return *count = 1, OK; }
int cuDeviceGet(int *device, int ordinal) { return *device = 0, ordinal ? INVALID_VALUE : OK; }
int cuDeviceGetName(char *name, int length, int) { return std::snprintf(name, length, "a GPU of the tests"), OK; }
int cuDeviceGetAttribute(int *value, int which, int) {
    *value = which == 75 ? 9 : which == 76 ? 0 : which == 16 ? 2 : -1;
    return *value < 0 ? INVALID_VALUE : OK;
}
int cuDevicePrimaryCtxRetain(void **to, int) { return *to = &context, OK; }
int cuCtxSetCurrent(void *which) { return current_context = which == &context, OK; }
int cuStreamCreate(void **to, u32) { return *to = &stream, current_context ? OK : INVALID_CONTEXT; }
int cuStreamSynchronize(void *which) { return which != &stream ? INVALID_VALUE : capturing ? CAPTURE_UNSUPPORTED : OK; }
int cuStreamQuery(void *which) {
    using Pending = int (*)();
    static Pending pending = reinterpret_cast<Pending>(dlsym(RTLD_DEFAULT, "emulation_exchange_pending"));
    if (!current_context) return INVALID_CONTEXT;
    return which != &stream ? INVALID_VALUE : pending && pending() ? NOT_READY : OK;
}
int cuDeviceGetDefaultMemPool(void **to, int) { return *to = &pool, OK; }
int cuMemPoolSetAttribute(void *, int attribute, void *value) {
    if (attribute != 4) return INVALID_VALUE;
    return threshold = *static_cast<u64 *>(value), OK;
}
// 5: reserved now; 7: used now.
int cuMemPoolGetAttribute(void *, int attribute, void *value) {
    if (attribute != 5 && attribute != 7) return INVALID_VALUE;
    return *static_cast<u64 *>(value) = used, OK;
}
int cuMemPoolTrimTo(void *, size_t) { return OK; }
int cuMemGetInfo_v2(size_t *left, size_t *total) { return *left = MEMORY - used, *total = MEMORY, OK; }
int cuMemAllocAsync(u64 *to, size_t bytes, void *on) {
    if (!current_context) return INVALID_CONTEXT;
    if (on != &stream) return INVALID_VALUE;
    if (capturing) return CAPTURE_UNSUPPORTED;
    if (used + bytes > MEMORY || until_failure == 0) return OUT_OF_MEMORY;
    until_failure--;
    void *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(memory, 0xff, bytes); // NaN
    *to = reinterpret_cast<u64>(memory);
    allocations[*to] = bytes;
    used += bytes;
    return OK;
}
int cuMemFreeAsync(u64 address, void *) {
    auto found = allocations.find(address);
    if (found == allocations.end() || capturing) return INVALID_VALUE;
    used -= found->second;
    std::free(reinterpret_cast<void *>(address));
    allocations.erase(found);
    return OK;
}
int cuMemcpyHtoDAsync_v2(u64 to, const void *from, size_t bytes, void *) {
    if (!current_context) return INVALID_CONTEXT;
    if (capturing || !inside(to, bytes)) return INVALID_VALUE;
    return std::memcpy(reinterpret_cast<void *>(to), from, bytes), OK;
}
int cuMemcpyDtoHAsync_v2(void *to, u64 from, size_t bytes, void *) {
    if (!current_context) return INVALID_CONTEXT;
    if (capturing || !inside(from, bytes)) return INVALID_VALUE;
    return std::memcpy(to, reinterpret_cast<void *>(from), bytes), OK;
}
int cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void *) {
    if (!inside(to, bytes) || !inside(from, bytes)) return INVALID_VALUE;
    return now_or_later([=] { return std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), bytes), OK; });
}
int cuMemsetD8Async(u64 to, unsigned char value, size_t bytes, void *) {
    if (!inside(to, bytes)) return INVALID_VALUE;
    return now_or_later([=] { return std::memset(reinterpret_cast<void *>(to), value, bytes), OK; });
}
int cuModuleLoadData(void **to, const void *image) {
    if (CUDA < 13000) return PTX_TOO_NEW;
    return *to = &module_handle, image ? OK : INVALID_VALUE;
}
int cuModuleGetFunction(void **to, void *from, const char *name) {
    const emulation::Kernel *kernel = emulation_kernel(name);
    if (!kernel || from != &module_handle) return NOT_FOUND;
    Function &function = functions[name];
    function.kernel = kernel;
    return *to = &function, OK;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
    if (attribute != 8 || value > 227 * 1024 || capturing) return INVALID_VALUE;
    return static_cast<Function *>(function)->shared = value, OK;
}
int cuLaunchKernel(void *which, u32 x, u32 y, u32 z, u32 threads, u32 threads_y, u32 threads_z, u32 shared, void *on,
                   void **arguments, void **extra) {
    Function &function = *static_cast<Function *>(which);
    const emulation::Kernel *kernel = function.kernel;
    if (on != &stream || extra || threads_y != 1 || threads_z != 1 || shared > function.shared) return INVALID_VALUE;
    // A driver may load a kernel when it first runs, which a recording does not allow.
    if (capturing && !function.ran) return CAPTURE_UNSUPPORTED;
    function.ran = true;
    // Values are taken now, as a driver does.
    std::vector<u64> bits(kernel->count);
    for (u32 i = 0; i < kernel->count; i++) std::memcpy(&bits[i], arguments[i], kernel->sizes[i]);
    return now_or_later([=]() mutable {
        std::vector<void *> pointers;
        for (u64 &value : bits) pointers.push_back(&value);
        u32 blocks[3] = {x, y, z};
        const char *failure = emulation_launch(kernel->name, blocks, threads, shared, pointers.data(), kernel->sizes, kernel->count);
        if (failure) std::fprintf(stderr, "%s: %s\n", kernel->name, failure);
        return failure ? LAUNCH_FAILED : OK;
    });
}
int cuGetErrorString(int error, const char **text) {
    return *text = error == OUT_OF_MEMORY ? "out of memory" : "an error of the tests' driver", OK;
}
int cuStreamBeginCapture_v2(void *, int) {
    if (capturing) return INVALID_VALUE;
    recorded.clear();
    return capturing = true, OK;
}
int cuStreamEndCapture(void *, void **graph) {
    if (!capturing) return INVALID_VALUE;
    capturing = false;
    return *graph = new Graph(std::move(recorded)), OK;
}
int cuGraphInstantiateWithFlags(void **runnable, void *graph, u64) { return *runnable = new Graph(*static_cast<Graph *>(graph)), OK; }
int cuGraphDestroy(void *graph) { return delete static_cast<Graph *>(graph), OK; }
int cuGraphExecDestroy(void *graph) { return delete static_cast<Graph *>(graph), OK; }
int cuGraphLaunch(void *graph, void *) {
    for (auto &work : *static_cast<Graph *>(graph))
        if (int error = work()) return error;
    return OK;
}

int cublasCreate_v2(void **handle) { return *handle = &context, CUDA < 13000 ? 1 : OK; }
int cublasSetStream_v2(void *, void *) { return OK; }
int cublasSetWorkspace_v2(void *, void *workspace, size_t) { return workspace ? OK : 7; }
int cublasSetMathMode(void *, int mode) { return mode == 16 ? OK : 7; }
int cublasGemmEx(void *, int turn_a, int turn_b, int m, int n, int k, const float *alpha, const void *a, int type_a,
                 int lda, const void *b, int type_b, int ldb, const float *beta, void *c, int type_c, int ldc,
                 int compute, int algorithm) {
    // 14: bf16, 0: f32; 68: sums in f32.
    if (type_a != type_b || compute != 68 || algorithm != -1) return 7;
    if (lda < (turn_a ? k : m) || ldb < (turn_b ? n : k) || ldc < m) return 7;
    emulation_product(m, n, k, *alpha, *beta, a, lda, turn_a, b, ldb, turn_b, c, ldc, type_a == 14, type_c == 14);
    return OK;
}
}
