// y_i = x_i / (1 - p) where bits(key, first + i) >> 32 is at least p 2^32, else 0. `bits` is SplitMix64 at a
// counter, as in model::ops::low_rank: the mask is that of the CPU. y may be x. One thread per 8 values.

template <typename T> DEVICE void dropout(T *y, const T *x, u64 n, u64 key, u64 first, u64 threshold, float keep) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8, left = (i64)n - at;
    if (left <= 0) return;
    bool wide = aligned(x) && aligned(y);
    Eight v;
    load8(v, x + at, left, wide);
    UNROLL for (int i = 0; i < 8; i++) {
        u64 z = key + (first + (u64)at + i + 1) * 0x9e3779b97f4a7c15ull;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        z ^= z >> 31;
        v[i] *= (z >> 32) >= threshold ? keep : 0.0f;
    }
    store8(y + at, v, left, wide);
}
KERNEL(dropout_f32, float *y, const float *x, u64 n, u64 key, u64 first, u64 threshold, float keep) { dropout(y, x, n, key, first, threshold, keep); }
KERNEL(dropout_bf16, bf16 *y, const bf16 *x, u64 n, u64 key, u64 first, u64 threshold, float keep) { dropout(y, x, n, key, first, threshold, keep); }
