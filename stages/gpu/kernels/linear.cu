// y += b on every row. One thread per 8 values.

template <typename T> DEVICE void add_bias(T *y, const float *bias, u64 n, int cols) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8;
    if (at >= (i64)n) return;
    if (cols % 8 == 0 && aligned(y) && aligned(bias)) {
        Eight v, b;
        load8(v, y + at, 8, true);
        load8(b, bias + at % cols, 8, true);
        UNROLL for (int i = 0; i < 8; i++) v[i] += b[i];
        store8(y + at, v, 8, true);
    } else {
        for (i64 i = at; i < at + 8 && i < (i64)n; i++) y[i] = narrow<T>(widen(y[i]) + bias[i % cols]);
    }
}
KERNEL(add_bias_f32, float *y, const float *bias, u64 n, int cols) { add_bias(y, bias, n, cols); }
KERNEL(add_bias_bf16, bf16 *y, const float *bias, u64 n, int cols) { add_bias(y, bias, n, cols); }
