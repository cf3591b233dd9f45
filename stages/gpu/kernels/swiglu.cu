// SwiGLU: y = silu(g) u, silu(g) = g s(g), s the logistic function; gate and up lie side by side,
// [rows, g | u], `inner` each. Backward: du = dy silu(g), dg = dy u s(g) (1 + g (1 - s(g))), written
// over g and u; y is written over dy. One thread per 8 values of y.

template <typename T> DEVICE void swiglu_forward(T *y, const T *gate_up, u64 n, int inner) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8;
    if (at >= (i64)n) return;
    bool wide = inner % 8 == 0 && aligned(y) && aligned(gate_up);
    // 8 values may cross into the next row if the rows are odd: one at a time then.
    int count = wide ? 8 : (int)min((i64)8, (i64)n - at), step = wide ? 8 : 1;
    for (int part = 0; part < count; part += step) {
        i64 row = (at + part) / inner, col = (at + part) % inner;
        const T *from = gate_up + row * 2 * inner + col;
        Eight g, u, v;
        load8(g, from, step, wide);
        load8(u, from + inner, step, wide);
        UNROLL for (int i = 0; i < 8; i++) v[i] = g[i] / (1.0f + exp_fast(-g[i])) * u[i];
        store8(y + at + part, v, step, wide);
    }
}

template <typename T> DEVICE void swiglu_backward(T *dy_to_y, T *gate_up, u64 n, int inner) {
    i64 at = (i64)(blockIdx.x * (u64)blockDim.x + threadIdx.x) * 8;
    if (at >= (i64)n) return;
    bool wide = inner % 8 == 0 && aligned(dy_to_y) && aligned(gate_up);
    int count = wide ? 8 : (int)min((i64)8, (i64)n - at), step = wide ? 8 : 1;
    for (int part = 0; part < count; part += step) {
        i64 row = (at + part) / inner, col = (at + part) % inner;
        T *from = gate_up + row * 2 * inner + col;
        Eight g, u, d;
        load8(g, from, step, wide);
        load8(u, from + inner, step, wide);
        load8(d, dy_to_y + at + part, step, wide);
        UNROLL for (int i = 0; i < 8; i++) {
            float s = 1.0f / (1.0f + exp_fast(-g[i])), silu = g[i] * s, dy = d[i];
            d[i] = silu * u[i];
            g[i] = dy * u[i] * fmaf(s, g[i] * (1.0f - s), s);
            u[i] = dy * silu;
        }
        store8(from, g, step, wide);
        store8(from + inner, u, step, wide);
        store8(dy_to_y + at + part, d, step, wide);
    }
}

KERNEL(swiglu_forward_f32, float *y, const float *gate_up, u64 n, int inner) { swiglu_forward(y, gate_up, n, inner); }
KERNEL(swiglu_forward_bf16, bf16 *y, const bf16 *gate_up, u64 n, int inner) { swiglu_forward(y, gate_up, n, inner); }
KERNEL(swiglu_backward_f32, float *dy_to_y, float *gate_up, u64 n, int inner) { swiglu_backward(dy_to_y, gate_up, n, inner); }
KERNEL(swiglu_backward_bf16, bf16 *dy_to_y, bf16 *gate_up, u64 n, int inner) { swiglu_backward(dy_to_y, gate_up, n, inner); }
