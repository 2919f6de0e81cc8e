// What CUDA adds to C++, on a CPU: blocks one after the other, threads as fibers that take turns
// where they meet. Threads run in forward or in reversed order between meetings; memory that a
// block shares begins as NaN. So what depends on the order of threads, or on a meeting that is
// missing, gives a wrong result.
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

using namespace std;

#define GN_HOST
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__
#define __align__(nbytes) alignas(nbytes)
#define __shared__ static __attribute__((section("gn_shared")))

struct Place { unsigned x, y, z; };
static Place blockIdx, threadIdx, blockDim, gridDim;

extern "C" char __start_gn_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_gn_shared[] __attribute__((weak, visibility("hidden")));

static inline float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
static inline double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline long long __double_as_longlong(double x) { long long bits; memcpy(&bits, &x, 8); return bits; }

// Newton's method on erf, from a rational first guess (Giles, "Approximating the erfinv function").
static inline double erfinv(double y) {
    if (!(fabs(y) < 1)) return fabs(y) == 1 ? copysign(INFINITY, y) : NAN;
    double w = -log((1 - y) * (1 + y)), x = y * sqrt(w) * 0.9 + y * 0.1;
    if (w < 5) { x = y * 0.886226925; }
    for (int turn = 0; turn < 60; ++turn) {
        double away = y > 0.5 ? -(erfc(x) - (1 - y)) : y < -0.5 ? erfc(-x) - (1 + y) : erf(x) - y;
        double step = away / (1.1283791670955126 * exp(-x * x));
        x -= step / (1 + x * step);
        if (fabs(step) <= 1e-17 * fabs(x)) break;
    }
    return x;
}
static inline float erfinvf(float y) { return (float)erfinv((double)y); }

// ---------------------------------------------------------------------------------- threads

namespace shim {

const int MOST = 1024, STACK = 1 << 16;
struct Fiber { jmp_buf place; char* stack; bool is_done; int waits_for; };
static Fiber fibers[MOST];
static jmp_buf scheduler;
static int count, current;
static char exchanged[MOST][8];
static void (*body)(char**);
static char** given;

const int NOBODY = 0, BLOCK = 1, WARP = 2;

// Back to the scheduler, until it comes here again. Jumps are far quicker than changes of context,
// which ask the system for signals.
static void yield() {
    if (!_setjmp(fibers[current].place)) _longjmp(scheduler, 1);
}

// A fiber is made once: it carries out a thread of every block.
static void run_fiber() {
    for (;;) {
        body(given);
        fibers[current].is_done = true;
        yield();
    }
}

static void resume(Fiber& fiber) {
    if (_setjmp(scheduler)) return;
    if (fiber.stack) _longjmp(fiber.place, 1);
    static ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = fiber.stack = (char*)malloc(STACK);
    context.uc_stack.ss_size = STACK;
    makecontext(&context, run_fiber, 0);
    setcontext(&context);
}

static void wait(int whom) {
    fibers[current].waits_for = whom;
    yield();
    threadIdx.x = current;
}

static void fail(const char* words) {
    fprintf(stderr, "cuda_shim: %s\n", words);
    abort();
}

// Let go of the threads that wait for each other, if all of them are there.
static bool release(int first, int last, int whom) {
    int waiting = 0, done = 0;
    for (int n = first; n < last; ++n) {
        done += fibers[n].is_done;
        waiting += !fibers[n].is_done && fibers[n].waits_for == whom;
    }
    if (!waiting || waiting + done != last - first) return false;
    if (done) fail("some threads end while others wait for them");
    for (int n = first; n < last; ++n) fibers[n].waits_for = NOBODY;
    return true;
}

// Let every thread of a warp run until it waits; whether any could.
static bool run_warp(int first, int last, bool is_reversed, int& left) {
    bool has_moved = false;
    for (int turn = 0; turn < last - first; ++turn) {
        current = is_reversed ? last - 1 - turn : first + turn;
        Fiber& fiber = fibers[current];
        if (fiber.is_done || fiber.waits_for != NOBODY) continue;
        threadIdx.x = current;
        resume(fiber);
        has_moved = true;
        left -= fiber.is_done;
    }
    return release(first, last, WARP) || has_moved;
}

static void run_block(bool is_reversed) {
    for (int n = 0; n < count; ++n) {
        fibers[n].is_done = false;
        fibers[n].waits_for = NOBODY;
    }
    // One warp runs as far as it can before the next: it finds what others have not done yet.
    int warps = (count + 31) / 32;
    for (int left = count; left;) {
        bool has_moved = false;
        for (int turn = 0; turn < warps; ++turn) {
            int warp = is_reversed ? warps - 1 - turn : turn;
            int first = warp * 32, last = first + 32 < count ? first + 32 : count;
            while (run_warp(first, last, is_reversed, left)) has_moved = true;
        }
        has_moved |= release(0, count, BLOCK);
        if (!has_moved && left) fail("threads wait for each other at different places");
    }
}

// Of a grid, every so many-th block and the last one.
static void launch(
    void (*kernel)(char**), char** p, int blocks, int threads, bool is_reversed, int every, bool meets
) {
    body = kernel;
    given = p;
    count = threads;
    gridDim = {(unsigned)blocks, 1, 1};
    blockDim = {(unsigned)threads, 1, 1};
    for (int n = 0; n < blocks; ++n) {
        int number = is_reversed ? blocks - 1 - n : n;
        if (number % every && number != blocks - 1) continue;
        blockIdx = {(unsigned)number, 0, 0};
        threadIdx = {0, 0, 0};
        if (__start_gn_shared) memset(__start_gn_shared, 0xff, __stop_gn_shared - __start_gn_shared);
        if (meets) {
            run_block(is_reversed);
            continue;
        }
        // Threads that never meet need no fibers.
        for (int turn = 0; turn < threads; ++turn) {
            current = threadIdx.x = is_reversed ? threads - 1 - turn : turn;
            kernel(p);
        }
    }
}

}  // namespace shim

static inline void __syncthreads() { shim::wait(shim::BLOCK); }

template <class X> static X __shfl_xor_sync(unsigned, X value, int by) {
    memcpy(shim::exchanged[shim::current], &value, sizeof(X));
    shim::wait(shim::WARP);
    X other;
    memcpy(&other, shim::exchanged[shim::current ^ by], sizeof(X));
    shim::wait(shim::WARP);
    return other;
}
