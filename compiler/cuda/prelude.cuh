// What generated kernels are made of: the scalar primitives and the ways that threads meet.
//
// Plain C++17 that NVRTC compiles for a GPU, and any C++ compiler behind a shim that defines what
// CUDA adds (blockIdx, __syncthreads, ...). Functions are overloaded by type; what an elementwise
// operator means is the same as in compiler/native/{floats,integers,casts,storage}.py.

typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef signed char i8;
typedef unsigned char u8;

#define GN __device__ __forceinline__

// ------------------------------------------------------------------------------------- bits

GN float gn_float(u32 bits) { return __int_as_float((int)bits); }
GN u32 gn_bits(float x) { return (u32)__float_as_int(x); }
GN double gn_double(u64 bits) { return __longlong_as_double((i64)bits); }
GN u64 gn_bits(double x) { return (u64)__double_as_longlong(x); }

GN bool gn_isnan(float x) { return x != x; }
GN bool gn_isnan(double x) { return x != x; }
GN bool gn_isinf(float x) { return (gn_bits(x) & 0x7fffffffu) == 0x7f800000u; }
GN bool gn_isinf(double x) { return (gn_bits(x) & 0x7fffffffffffffffull) == 0x7ff0000000000000ull; }
GN bool gn_isfinite(float x) { return (gn_bits(x) & 0x7f800000u) != 0x7f800000u; }
GN bool gn_isfinite(double x) {
    return (gn_bits(x) & 0x7ff0000000000000ull) != 0x7ff0000000000000ull;
}

// Neighbours in memory that are read or written at once, at an address that is a multiple of their
// bytes.
template <class X, int N> struct alignas(N * sizeof(X)) gn_many { X at[N]; };

// ------------------------------------------------------------------------------- half floats
// They are held as floats that a half float can represent.

GN float gn_load_bfloat16(u16 stored) { return gn_float((u32)stored << 16); }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
GN u16 gn_store_bfloat16(float x) {
    u16 stored;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(stored) : "f"(x));
    return stored;
}
#else
GN u16 gn_store_bfloat16(float x) {
    u32 bits = gn_bits(x);
    if (gn_isnan(x)) return (u16)((bits | 0x400000u) >> 16);
    return (u16)((bits + ((bits >> 16) & 1u) + 0x7fffu) >> 16);
}
#endif
GN float gn_round_bfloat16(float x) { return gn_load_bfloat16(gn_store_bfloat16(x)); }

#ifdef GN_HOST
GN float gn_load_float16(u16 stored) {
    u32 size = stored & 0x7fffu, sign = (u32)(stored & 0x8000u) << 16;
    u32 bits = gn_bits(gn_float(size << 13) * 0x1p112f);
    if (size >= 0x7c00u) bits |= 0x7f800000u;
    return gn_float(bits | sign);
}
GN u16 gn_store_float16(float x) {
    u32 bits = gn_bits(x), size = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
    if (size > 0x7f800000u) return (u16)(sign | 0x7e00u);
    if (size >= 0x477ff000u) return (u16)(sign | 0x7c00u);  // rounds to 65536 or more
    if (size < 0x38800000u) {  // subnormal: the last bit of 0.5 is the smallest float16
        float small = (gn_float(size) + 0.5f) - 0.5f;
        return (u16)(sign | (u32)(small * 0x1p24f));
    }
    size += ((size >> 13) & 1u) + 0xfffu;
    return (u16)(sign | ((size >> 13) - (112u << 10)));
}
#else
GN float gn_load_float16(u16 stored) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(stored));
    return x;
}
GN u16 gn_store_float16(float x) {
    u16 stored;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(stored) : "f"(x));
    return stored;
}
#endif
GN float gn_round_float16(float x) { return gn_load_float16(gn_store_float16(x)); }

// A double as a float whose last bit tells that something was lost: rounded once more, to a half
// float, it gives what the double itself would have.
GN float gn_to_odd(double x) {
    float near = (float)x;
    if (gn_isnan(x)) return near;
    double back = near;
    bool beyond = fabs(back) > fabs(x), lost = back != x && !gn_isinf(x);
    return gn_float((gn_bits(near) - (u32)beyond) | (u32)lost);
}

// ------------------------------------------------------------------------------------- casts
// A float becomes an integer by truncation; what int32 (int64, for int64) cannot hold becomes the
// least int32 (int64), and narrower integers take the last bits of the int32.

GN int gn_to_int32(float x) { return x >= -2147483648.f && x < 2147483648.f ? (int)x : (int)0x80000000u; }
GN int gn_to_int32(double x) { return x >= -2147483648. && x < 2147483648. ? (int)x : (int)0x80000000u; }
GN i64 gn_to_int64(float x) {
    return x >= -0x1p63f && x < 0x1p63f ? (i64)x : (i64)0x8000000000000000ull;
}
GN i64 gn_to_int64(double x) {
    return x >= -0x1p63 && x < 0x1p63 ? (i64)x : (i64)0x8000000000000000ull;
}
template <class X> GN int gn_to_int32(X x) { return (int)(i64)x; }
template <class X> GN i64 gn_to_int64(X x) { return (i64)x; }

// ---------------------------------------------------------------------------------- integers
// They wrap around. Division by zero gives 0; a shift by more bits than there are, or by a
// negative number of them, shifts everything out.

template <class I> struct gn_is_signed { static constexpr bool value = (I)-1 < (I)1; };

template <class I> GN I gn_add(I x, I y) { return (I)((u64)x + (u64)y); }
template <class I> GN I gn_subtract(I x, I y) { return (I)((u64)x - (u64)y); }
template <class I> GN I gn_multiply(I x, I y) { return (I)((u64)x * (u64)y); }
template <class I> GN I gn_negative(I x) { return (I)(0ull - (u64)x); }
template <class I> GN I gn_abs(I x) { return x < (I)0 ? gn_negative(x) : x; }
template <class I> GN I gn_sign(I x) { return (I)((x > (I)0) - (x < (I)0)); }
template <class I> GN I gn_maximum(I x, I y) { return x > y ? x : y; }
template <class I> GN I gn_minimum(I x, I y) { return x < y ? x : y; }
GN bool gn_add(bool x, bool y) { return x || y; }
GN bool gn_multiply(bool x, bool y) { return x && y; }
GN bool gn_maximum(bool x, bool y) { return x || y; }
GN bool gn_minimum(bool x, bool y) { return x && y; }

template <class I> GN I gn_bitwise_and(I x, I y) { return (I)(x & y); }
template <class I> GN I gn_bitwise_or(I x, I y) { return (I)(x | y); }
template <class I> GN I gn_bitwise_xor(I x, I y) { return (I)(x ^ y); }
template <class I> GN I gn_bitwise_not(I x) { return (I)~x; }
GN bool gn_bitwise_not(bool x) { return !x; }
template <class I> GN I gn_left_shift(I x, I count) {
    return (u64)(i64)count < 8 * sizeof(I) ? (I)((u64)x << (u64)count) : (I)0;
}
template <class I> GN I gn_right_shift(I x, I count) {
    bool inside = (u64)(i64)count < 8 * sizeof(I);
    if (gn_is_signed<I>::value) return (I)((i64)x >> (inside ? (int)count : (int)(8 * sizeof(I)) - 1));
    return inside ? (I)((u64)x >> (u64)count) : (I)0;
}
template <class I> GN I gn_floor_divide(I x, I y) {
    if (y == (I)0) return (I)0;
    if (gn_is_signed<I>::value && y == (I)-1) return gn_negative(x);
    I quotient = (I)(x / y), rest = (I)(x - quotient * y);
    return rest != (I)0 && ((rest < (I)0) != (y < (I)0)) ? (I)(quotient - 1) : quotient;
}
template <class I> GN I gn_mod(I x, I y) {
    if (y == (I)0 || (gn_is_signed<I>::value && y == (I)-1)) return (I)0;
    I rest = (I)(x % y);
    return rest != (I)0 && ((rest < (I)0) != (y < (I)0)) ? (I)(rest + y) : rest;
}
template <class I> GN I gn_floor(I x) { return x; }
template <class I> GN I gn_ceil(I x) { return x; }
template <class I> GN I gn_round(I x) { return x; }
template <class I> GN I gn_trunc(I x) { return x; }

// ------------------------------------------------------------------------------------ floats

GN float gn_add(float x, float y) { return x + y; }
GN double gn_add(double x, double y) { return x + y; }
GN float gn_multiply(float x, float y) { return x * y; }
GN double gn_multiply(double x, double y) { return x * y; }

#define GN_FLOATS(F, S, HALF)                                                                     \
    GN F gn_abs(F x) { return fabs##S(x); }                                                       \
    GN F gn_sign(F x) { return gn_isnan(x) ? x : x == F(0) ? F(0) : copysign##S(F(1), x); }       \
    GN F gn_maximum(F x, F y) { return gn_isnan(x) ? x : x > y ? x : y; }                         \
    GN F gn_minimum(F x, F y) { return gn_isnan(x) ? x : x < y ? x : y; }                         \
    GN F gn_floor(F x) { return floor##S(x); }                                                    \
    GN F gn_ceil(F x) { return ceil##S(x); }                                                      \
    GN F gn_round(F x) { return rint##S(x); }                                                     \
    GN F gn_trunc(F x) { return trunc##S(x); }                                                    \
    GN F gn_sqrt(F x) { return sqrt##S(x); }                                                      \
    GN F gn_floor_divide(F x, F y) {                                                              \
        F ratio = x / y;                                                                          \
        if (y == F(0)) return ratio;                                                              \
        F rest = fmod##S(x, y), quotient = (x - rest) / y;                                        \
        if (rest != F(0) && ((rest < F(0)) != (y < F(0))) && !gn_isnan(rest)) quotient -= F(1);   \
        if (quotient == F(0)) return copysign##S(F(0), ratio);                                    \
        F down = floor##S(quotient);                                                              \
        return quotient - down > HALF ? down + F(1) : down;                                       \
    }                                                                                             \
    GN F gn_mod(F x, F y) {                                                                       \
        F rest = fmod##S(x, y);                                                                   \
        if (y == F(0) || gn_isnan(rest)) return rest;                                             \
        if (rest == F(0)) return copysign##S(F(0), y);                                            \
        return (rest < F(0)) != (y < F(0)) ? rest + y : rest;                                     \
    }
GN_FLOATS(float, f, 0.5f)
GN_FLOATS(double, , 0.5)
#undef GN_FLOATS

// --------------------------------------------------------------------------- complex numbers

template <class F> struct gn_complex {
    F real, imag;
    gn_complex() = default;
    GN gn_complex(F x, F y) : real(x), imag(y) {}
    GN explicit gn_complex(i64 x) : real((F)x), imag(0) {}
};
template <class F> GN gn_complex<F> gn_add(gn_complex<F> x, gn_complex<F> y) {
    return gn_complex<F>(x.real + y.real, x.imag + y.imag);
}
template <class F> GN gn_complex<F> gn_multiply(gn_complex<F> x, gn_complex<F> y) {
    return gn_complex<F>(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real);
}

// The order of sorted rows: NaN come last.
GN bool gn_comes_before(float x, float y) { return x < y || (gn_isnan(y) && !gn_isnan(x)); }
GN bool gn_comes_before(double x, double y) { return x < y || (gn_isnan(y) && !gn_isnan(x)); }
template <class I> GN bool gn_comes_before(I x, I y) { return x < y; }

// ----------------------------------------------------------------------- transcendental ones

#define GN_UNARY(NAME, CALL)                             \
    GN float gn_##NAME(float x) { return CALL##f(x); }   \
    GN double gn_##NAME(double x) { return CALL(x); }
GN_UNARY(exp, exp) GN_UNARY(exp2, exp2) GN_UNARY(expm1, expm1)
GN_UNARY(log, log) GN_UNARY(log1p, log1p) GN_UNARY(log2, log2) GN_UNARY(log10, log10)
GN_UNARY(cbrt, cbrt) GN_UNARY(sin, sin) GN_UNARY(cos, cos) GN_UNARY(tan, tan)
GN_UNARY(arcsin, asin) GN_UNARY(arccos, acos) GN_UNARY(arctan, atan)
GN_UNARY(sinh, sinh) GN_UNARY(cosh, cosh) GN_UNARY(tanh, tanh)
GN_UNARY(arcsinh, asinh) GN_UNARY(arccosh, acosh) GN_UNARY(arctanh, atanh)
GN_UNARY(erf, erf) GN_UNARY(erfc, erfc) GN_UNARY(erfinv, erfinv) GN_UNARY(lgamma, lgamma)
#undef GN_UNARY

#define GN_BINARY(NAME, CALL)                                         \
    GN float gn_##NAME(float x, float y) { return CALL##f(x, y); }    \
    GN double gn_##NAME(double x, double y) { return CALL(x, y); }
GN_BINARY(power, pow) GN_BINARY(hypot, hypot) GN_BINARY(arctan2, atan2)
#undef GN_BINARY

// The derivative of lgamma: reflected to the right, moved up by recurrence to where the asymptotic
// series (Abramowitz and Stegun, 6.3.18) is exact to double precision.
GN double gn_digamma(double x) {
    if (x == 0.0) return copysign(gn_double(0x7ff0000000000000ull), -x);
    if (x < 0.0 && x == floor(x)) return gn_double(0x7ff8000000000000ull);
    double sum = 0.0;
    if (x < 0.0) {
        double part = x - floor(x);
        sum = -3.14159265358979323846 / tan(3.14159265358979323846 * part);
        x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) sum -= 1.0 / x;
    double z = 1.0 / (x * x);
    double tail = z * (1. / 12 - z * (1. / 120 - z * (1. / 252 - z * (1. / 240 - z * (1. / 132
                  - z * (691. / 32760 - z * (1. / 12)))))));
    return sum + log(x) - 0.5 / x - tail;
}
GN float gn_digamma(float x) { return (float)gn_digamma((double)x); }

GN double gn_reciprocal_power(int s, double x) {
    double power = 1.0;
    for (; s; s /= 2, x *= x) if (s % 2) power *= x;
    return 1.0 / power;
}

// The sum of 1 / (x + k)^s over k = 0, 1, ... for x > 0: the first ones are added up, and the rest by
// Euler and Maclaurin (Abramowitz and Stegun, 23.1.30).
GN double gn_zeta(int s, double x) {
    double sum = 0.0;
    for (; x < 16.0; x += 1.0) sum += gn_reciprocal_power(s, x);
    const double ratios[] = {1. / 12, -1. / 720, 1. / 30240, -1. / 1209600, 1. / 47900160,
                             -691. / 1307674368000., 1. / 74724249600.};
    double term = gn_reciprocal_power(s, x);
    sum += x * term / (s - 1.0) + 0.5 * term;
    for (int k = 0; k < 7; ++k) {
        term *= (s + 2 * k) / x;
        sum += ratios[k] * term;
        term *= (s + 2 * k + 1.0) / x;
    }
    return sum;
}

// Its derivative of order n: a sum over the poles at 0, -1, -2, ... (6.4.10); to the left of 0, over
// those on both sides.
GN double gn_polygamma(int n, double x) {
    double scale = n % 2 ? 1.0 : -1.0, part = x - floor(x);
    const int s = n + 1;
    for (int factor = 2; factor <= n; ++factor) scale *= factor;
    if (gn_isnan(x)) return x;
    if (x > 0.0) return scale * gn_zeta(s, x);
    if (part == 0.0) return scale * gn_double(0x7ff0000000000000ull);
    double left = gn_zeta(s, 1.0 - part) - gn_zeta(s, 1.0 - x);
    return scale * (gn_zeta(s, part) + (n % 2 ? left : -left));
}

// ------------------------------------------------------------------------- threads that meet

struct gn_sum { template <class X> static GN X of(X x, X y) { return gn_add(x, y); } };
struct gn_prod { template <class X> static GN X of(X x, X y) { return gn_multiply(x, y); } };
struct gn_max { template <class X> static GN X of(X x, X y) { return gn_maximum(x, y); } };
struct gn_min { template <class X> static GN X of(X x, X y) { return gn_minimum(x, y); } };
struct gn_any { template <class X> static GN X of(X x, X y) { return x || y; } };
struct gn_all { template <class X> static GN X of(X x, X y) { return x && y; } };

GN float gn_exchange(float x, int by) { return __shfl_xor_sync(0xffffffffu, x, by); }
GN double gn_exchange(double x, int by) { return __shfl_xor_sync(0xffffffffu, x, by); }
GN i64 gn_exchange(i64 x, int by) { return __shfl_xor_sync(0xffffffffu, x, by); }
GN int gn_exchange(int x, int by) { return __shfl_xor_sync(0xffffffffu, x, by); }
template <class X> GN X gn_exchange(X x, int by) { return (X)__shfl_xor_sync(0xffffffffu, (int)x, by); }

// The values of LANES threads that lie APART threads from each other, reduced; all of them get the
// result. Always in the same order: butterflies within a warp, then warp after warp; where they lie
// apart, halves of them again and again. `shared` has room for one value of every thread of the block.
// The block's size is a multiple of 32, and all threads call.
template <class Op, int LANES, int APART, class X> GN X gn_together(X value, char* memory) {
    if (LANES == 1) return value;
    X* shared = (X*)memory;
    if (APART == 1) {
        for (int by = (LANES < 32 ? LANES : 32) / 2; by; by /= 2)
            value = Op::of(value, gn_exchange(value, by));
        if (LANES <= 32) return value;
        if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
        __syncthreads();
        int first = threadIdx.x / LANES * (LANES / 32);
        value = shared[first];
        for (int warp = 1; warp < LANES / 32; ++warp) value = Op::of(value, shared[first + warp]);
    } else {
        shared[threadIdx.x] = value;
        for (int by = LANES / 2 * APART; by >= APART; by /= 2) {
            __syncthreads();
            if (threadIdx.x < by) {
                value = Op::of(value, shared[threadIdx.x + by]);
                shared[threadIdx.x] = value;
            }
        }
        __syncthreads();
        value = shared[threadIdx.x % APART];
    }
    __syncthreads();  // before anybody writes there again
    return value;
}

// ------------------------------------------------------------------ rows that a block keeps to
// A block takes some rows through all rounds of a loop. Matrices stay in the memory that its
// threads share, whose size is said at the launch.

#ifdef GN_HOST
GN void gn_prefetch(const char*) {}
#else
extern __shared__ __align__(16) char gn_shared_memory[];
GN void gn_prefetch(const char* place) { asm volatile("prefetch.L1 [%0];" : : "l"(place)); }
#endif

GN float gn_fma(float x, float y, float z) { return fmaf(x, y, z); }
GN double gn_fma(double x, double y, double z) { return fma(x, y, z); }

template <class X> struct alignas(2 * sizeof(X)) gn_pair { X first, second; };
template <class X> struct alignas(16) gn_quad { X at[4]; };

// How numbers are kept, and how they are computed with.
template <class X> struct gn_plain {
    typedef X kept;
    typedef X wide;
    static GN X load(X x) { return x; }
    static GN X store(X x) { return x; }
};
typedef gn_plain<float> gn_float32;
typedef gn_plain<double> gn_float64;
struct gn_bfloat16 {
    typedef u16 kept;
    typedef float wide;
    static GN float load(u16 x) { return gn_load_bfloat16(x); }
    static GN u16 store(float x) { return gn_store_bfloat16(x); }
};
struct gn_float16 {
    typedef u16 kept;
    typedef float wide;
    static GN float load(u16 x) { return gn_load_float16(x); }
    static GN u16 store(float x) { return gn_store_float16(x); }
};

// An element of a matrix whose rows and columns are so many bytes apart; 0 outside of it.
template <class From> GN typename From::wide gn_element(
    const char* from, i64 row, i64 column, int k, int n, bool is_inside
) {
    if (!is_inside) return 0;
    return From::load(*(const typename From::kept*)(from + k * row + n * column));
}

// Bring a matrix into shared memory, as Factor keeps it, with zeros beyond.
template <class From, class Factor, int K, int N, int DEPTH, int WIDTH>
GN void gn_keep_matrix(const char* from, i64 row, i64 column, char* to) {
    for (int at = threadIdx.x; at < DEPTH * WIDTH; at += blockDim.x) {
        int k = at / WIDTH, n = at % WIDTH;
        ((typename Factor::kept*)to)[at] =
            Factor::store(gn_element<From>(from, row, column, k, n, k < K && n < N));
    }
}

// Bring rows into shared memory, rounded as Factor does, with zeros beyond.
template <class From, class Factor, int K, int DEPTH, int ROWS>
GN void gn_take_rows(const char* from, i64 row, i64 column, int first, int rows, char* to) {
    for (int at = threadIdx.x; at < ROWS * DEPTH; at += blockDim.x) {
        int r = at / DEPTH, k = at % DEPTH;
        ((typename Factor::wide*)to)[at] = Factor::load(
            Factor::store(gn_element<From>(from, row, column, first + r, k, r < rows && k < K)));
    }
}

// The products of all rows with all columns, in SLICES parts of the terms. A thread takes two
// columns and all rows of a part.
template <class Factor, int DEPTH, int WIDTH, int ROWS, int SLICES>
GN void gn_multiply_rows(const char* matrix, const char* rows, char* sums) {
    typedef typename Factor::wide wide;
    const int PAIRS = WIDTH / 2, TERMS = (DEPTH / 4 + SLICES - 1) / SLICES * 4;
    for (int item = threadIdx.x; item < PAIRS * SLICES; item += blockDim.x) {
        const int pair = item % PAIRS, slice = item / PAIRS;
        const int end = (slice + 1) * TERMS < DEPTH ? (slice + 1) * TERMS : DEPTH;
        gn_pair<wide> sum[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sum[r].first = sum[r].second = 0;
        for (int k = slice * TERMS; k < end; k += 4) {
            wide first[4], second[4];
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                gn_pair<typename Factor::kept> both =
                    ((const gn_pair<typename Factor::kept>*)matrix)[(k + j) * PAIRS + pair];
                first[j] = Factor::load(both.first);
                second[j] = Factor::load(both.second);
            }
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                gn_quad<wide> x = *(const gn_quad<wide>*)((const wide*)rows + r * DEPTH + k);
#pragma unroll
                for (int j = 0; j < 4; ++j) {
                    sum[r].first = gn_fma(x.at[j], first[j], sum[r].first);
                    sum[r].second = gn_fma(x.at[j], second[j], sum[r].second);
                }
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r)
            ((gn_pair<wide>*)sums)[(slice * ROWS + r) * PAIRS + pair] = sum[r];
    }
}

// One element of the product: its parts in order.
template <class Factor, int WIDTH, int ROWS, int SLICES>
GN typename Factor::wide gn_sum_slices(const char* sums, int r, int n) {
    const typename Factor::wide* part = (const typename Factor::wide*)sums + r * WIDTH + n;
    typename Factor::wide total = part[0];
    for (int slice = 1; slice < SLICES; ++slice) total += part[slice * ROWS * WIDTH];
    return total;
}
