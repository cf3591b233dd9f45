// y = a;  y = x in another precision;  y += a x;  y *= a. One thread per 8 values.

template <typename T> DEVICE void fill(T *y, float a, u64 n) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8, left = (i64)n - at;
    if (left <= 0) return;
    Eight x;
    UNROLL for (int i = 0; i < 8; i++) x[i] = a;
    store8(y + at, x, left, aligned(y));
}

template <typename Y, typename X> DEVICE void convert(Y *y, const X *x, u64 n) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8, left = (i64)n - at;
    if (left <= 0) return;
    Eight v;
    load8(v, x + at, left, aligned(x));
    store8(y + at, v, left, aligned(y));
}

template <typename Y, typename X> DEVICE void add_scaled(Y *y, const X *x, float a, u64 n) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8, left = (i64)n - at;
    if (left <= 0) return;
    Eight u, v;
    load8(u, y + at, left, aligned(y));
    load8(v, x + at, left, aligned(x));
    UNROLL for (int i = 0; i < 8; i++) u[i] = fmaf(a, v[i], u[i]);
    store8(y + at, u, left, aligned(y));
}

template <typename T> DEVICE void scale(T *y, float a, u64 n) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8, left = (i64)n - at;
    if (left <= 0) return;
    Eight v;
    load8(v, y + at, left, aligned(y));
    UNROLL for (int i = 0; i < 8; i++) v[i] *= a;
    store8(y + at, v, left, aligned(y));
}

KERNEL(fill_f32, float *y, float a, u64 n) { fill(y, a, n); }
KERNEL(fill_bf16, bf16 *y, float a, u64 n) { fill(y, a, n); }
KERNEL(convert_f32_f32, float *y, const float *x, u64 n) { convert(y, x, n); }
KERNEL(convert_f32_bf16, float *y, const bf16 *x, u64 n) { convert(y, x, n); }
KERNEL(convert_bf16_f32, bf16 *y, const float *x, u64 n) { convert(y, x, n); }
KERNEL(convert_bf16_bf16, bf16 *y, const bf16 *x, u64 n) { convert(y, x, n); }
KERNEL(add_scaled_f32_f32, float *y, const float *x, float a, u64 n) { add_scaled(y, x, a, n); }
KERNEL(add_scaled_f32_bf16, float *y, const bf16 *x, float a, u64 n) { add_scaled(y, x, a, n); }
KERNEL(add_scaled_bf16_f32, bf16 *y, const float *x, float a, u64 n) { add_scaled(y, x, a, n); }
KERNEL(add_scaled_bf16_bf16, bf16 *y, const bf16 *x, float a, u64 n) { add_scaled(y, x, a, n); }
KERNEL(scale_f32, float *y, float a, u64 n) { scale(y, a, n); }
KERNEL(scale_bf16, bf16 *y, float a, u64 n) { scale(y, a, n); }
