// Rotary positions, in place: pairs (x_i, x_{i + D/2}) of a head turn by the angle of their token's position;
// x_i' = x_i c - x_{i+D/2} s, x_{i+D/2}' = x_{i+D/2} c + x_i s, s times `direction` (-1: backward). Rows of
// `stride` values, of which the first heads * D are turned. One thread per 8 pairs.

template <typename T>
DEVICE void rope(T *x, const float *cosines, const float *sines, const u32 *positions, int tokens, i64 stride,
                 int heads, int half, float direction) {
    int parts = ceiling(half, 8);
    i64 index = blockIdx.x * (i64)blockDim.x + threadIdx.x;
    if (index >= (i64)tokens * heads * parts) return;
    int part = index % parts, head = index / parts % heads;
    i64 token = index / parts / heads;
    bool wide = half % 8 == 0 && stride % 8 == 0 && aligned(x) && aligned(cosines) && aligned(sines);
    T *low = x + token * stride + (i64)head * 2 * half + part * 8, *high = low + half;
    i64 at = (i64)positions[token] * half + part * 8;
    int count = min(8, half - part * 8);
    Eight a, b, c, s, first, second;
    load8(a, low, count, wide);
    load8(b, high, count, wide);
    load8(c, cosines + at, count, wide);
    load8(s, sines + at, count, wide);
    UNROLL for (int i = 0; i < 8; i++) {
        float sine = s[i] * direction;
        first[i] = a[i] * c[i] - b[i] * sine;
        second[i] = b[i] * c[i] + a[i] * sine;
    }
    store8(low, first, count, wide);
    store8(high, second, count, wide);
}
KERNEL(rope_f32, float *x, const float *cosines, const float *sines, const u32 *positions, int tokens, i64 stride, int heads, int half, float direction) {
    rope(x, cosines, sines, positions, tokens, stride, heads, half, direction);
}
KERNEL(rope_bf16, bf16 *x, const float *cosines, const float *sines, const u32 *positions, int tokens, i64 stride, int heads, int half, float direction) {
    rope(x, cosines, sines, positions, tokens, stride, heads, half, direction);
}
