// As attention.cu, on tensor cores: bf16, heads of 32, 64 or 128.
//
// A block of 4 warps has one tile of 64 queries (or keys), a warp 16 of them; the other side passes through shared
// memory in tiles of STEP rows, copied ahead of their use into one of two places. Scores stay in registers: what
// mma gives as a result is, packed to bf16, what it takes as a left operand. Rows in shared memory are 16 bytes
// longer than they need to be, so that the 8 rows of a matrix lie in different banks. Softmax in base 2.

#define LOG2_E 1.4426950408889634f
#define LN_2 0.6931471805599453f

// Rows first .. first + ROWS of one head into shared memory, zeros from `end` on.
template <int D, int ROWS> DEVICE void copy_rows(bf16 *to, const bf16 *from, i64 stride, int first, int end) {
    for (int i = threadIdx.x; i < ROWS * (D / 8); i += 128) {
        int row = i / (D / 8), col = i % (D / 8) * 8, token = first + row;
        copy_async(to + row * (D + 8) + col, from + min(token, end - 1) * stride + col, token < end ? 16 : 0);
    }
}

// The left operand: 16 rows from `row` on, columns col .. col + 16.
template <int D> DEVICE void left_operand(u32 (&a)[4], const bf16 *tile, int row, int col) {
    int lane = threadIdx.x % 32;
    load_matrices(a, tile + (row + lane % 16) * (D + 8) + col + lane / 16 * 8);
}

// The right operands of two mma: columns of the product are rows row .. row + 16 of the tile, and the inner
// dimension its columns col .. col + 16. Words 0, 1 are the first mma's, 2, 3 the second's.
template <int D> DEVICE void right_operand(u32 (&b)[4], const bf16 *tile, int row, int col) {
    int lane = threadIdx.x % 32;
    load_matrices(b, tile + (row + lane / 16 * 8 + lane % 8) * (D + 8) + col + lane / 8 % 2 * 8);
}

// The same with the tile transposed: the inner dimension is its rows row .. row + 16, columns of the product are its
// columns col .. col + 16.
template <int D> DEVICE void right_operand_transposed(u32 (&b)[4], const bf16 *tile, int row, int col) {
    int lane = threadIdx.x % 32;
    load_matrices_transposed(b, tile + (row + lane % 16) * (D + 8) + col + lane / 16 * 8);
}

// A result of 16 x 16 as a left operand.
DEVICE void as_left_operand(u32 (&a)[4], const float (&low)[4], const float (&high)[4]) {
    a[0] = pack(low[0], low[1]), a[1] = pack(low[2], low[3]);
    a[2] = pack(high[0], high[1]), a[3] = pack(high[2], high[3]);
}

// result[16 x N] = left rows from `row` of one tile times the N rows of another, over D.
template <int D, int N> DEVICE void scores_of(float (&s)[N / 8][4], const bf16 *left, int row, const bf16 *right) {
    UNROLL for (int n = 0; n < N / 8; n++) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
    UNROLL for (int d = 0; d < D; d += 16) {
        u32 a[4];
        left_operand<D>(a, left, row, d);
        UNROLL for (int n = 0; n < N; n += 16) {
            u32 b[4];
            right_operand<D>(b, right, n, d);
            mma(s[n / 8], a, b[0], b[1]);
            mma(s[n / 8 + 1], a, b[2], b[3]);
        }
    }
}

// sum[16 x D] += weights[16 x N] times the N rows of a tile.
template <int D, int N> DEVICE void add_product(float (&sum)[D / 8][4], const float (&weights)[N / 8][4], const bf16 *tile) {
    UNROLL for (int n = 0; n < N; n += 16) {
        u32 a[4];
        as_left_operand(a, weights[n / 8], weights[n / 8 + 1]);
        UNROLL for (int d = 0; d < D; d += 16) {
            u32 b[4];
            right_operand_transposed<D>(b, tile, n, d);
            mma(sum[d / 8], a, b[0], b[1]);
            mma(sum[d / 8 + 1], a, b[2], b[3]);
        }
    }
}

// Rows row and row + 8 of a result, times a factor each, if below `end`.
template <int D>
DEVICE void store_rows(bf16 *to, i64 stride, const float (&sum)[D / 8][4], int row, int end, float factor, float factor_8) {
    int col = threadIdx.x % 4 * 2;
    UNROLL for (int d = 0; d < D / 8; d++) {
        if (row < end) *reinterpret_cast<u32 *>(to + row * stride + d * 8 + col) = pack(sum[d][0] * factor, sum[d][1] * factor);
        if (row + 8 < end)
            *reinterpret_cast<u32 *>(to + (row + 8) * stride + d * 8 + col) = pack(sum[d][2] * factor_8, sum[d][3] * factor_8);
    }
}

template <int D, int STEP>
DEVICE void flash_forward(bf16 *out, float *log_sums, const bf16 *qkv, const u32 *tiles, int tokens, int heads,
                          int kv_heads, float scaling) {
    DYNAMIC_SHARED(bf16, shared);
    bf16 *queries = shared, *keys = queries + 64 * (D + 8), *values = keys + 2 * STEP * (D + 8);
    int start = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int head = blockIdx.y, kv_head = head / (heads / kv_heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    i64 stride = (i64)(heads + 2 * kv_heads) * D;
    const bf16 *k = qkv + (i64)(heads + kv_head) * D, *v = k + (i64)kv_heads * D;
    int query = first + warp * 16 + lane / 4, last = min(end, first + 64), steps = ceiling(last - start, STEP);
    float scale = scaling * LOG2_E;

    copy_rows<D, 64>(queries, qkv + (i64)head * D, stride, first, end);
    copy_rows<D, STEP>(keys, k, stride, start, end);
    copy_rows<D, STEP>(values, v, stride, start, end);
    copy_commit();
    float o[D / 8][4], largest[2] = {minus_infinity(), minus_infinity()}, sum[2] = {0, 0};
    UNROLL for (int d = 0; d < D / 8; d++) o[d][0] = o[d][1] = o[d][2] = o[d][3] = 0;
    for (int step = 0; step < steps; step++) {
        int from = start + step * STEP, place = step % 2 * STEP * (D + 8), other = STEP * (D + 8) - place;
        if (step + 1 < steps) {
            copy_rows<D, STEP>(keys + other, k, stride, from + STEP, end);
            copy_rows<D, STEP>(values + other, v, stride, from + STEP, end);
            copy_commit();
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        float s[STEP / 8][4];
        scores_of<D, STEP>(s, queries, warp * 16, keys + place);
        if (from + STEP - 1 > first + warp * 16)
            UNROLL for (int n = 0; n < STEP / 8; n++)
                UNROLL for (int i = 0; i < 4; i++)
                    if (from + n * 8 + lane % 4 * 2 + i % 2 > query + i / 2 * 8) s[n][i] = minus_infinity();
        UNROLL for (int half = 0; half < 2; half++) {
            float most = largest[half];
            UNROLL for (int n = 0; n < STEP / 8; n++) most = fmaxf(most, fmaxf(s[n][2 * half], s[n][2 * half + 1]));
            most = fmaxf(most, __shfl_xor_sync(FULL, most, 1));
            most = fmaxf(most, __shfl_xor_sync(FULL, most, 2));
            // A warp whose queries all come before a tile's keys sees nothing of it; the first tile it sees.
            float shrink = exp2_fast((largest[half] - most) * scale);
            largest[half] = most, sum[half] *= shrink;
            UNROLL for (int n = 0; n < STEP / 8; n++)
                UNROLL for (int i = 2 * half; i < 2 * half + 2; i++) {
                    s[n][i] = exp2_fast((s[n][i] - most) * scale);
                    sum[half] += s[n][i];
                }
            UNROLL for (int d = 0; d < D / 8; d++) o[d][2 * half] *= shrink, o[d][2 * half + 1] *= shrink;
        }
        add_product<D, STEP>(o, s, values + place);
        __syncthreads();
    }
    UNROLL for (int half = 0; half < 2; half++) {
        sum[half] += __shfl_xor_sync(FULL, sum[half], 1);
        sum[half] += __shfl_xor_sync(FULL, sum[half], 2);
        if (lane % 4 == 0 && query + half * 8 < end)
            log_sums[(i64)head * tokens + query + half * 8] = largest[half] * scaling + logf(sum[half]);
    }
    store_rows<D>(out + (i64)head * D, (i64)heads * D, o, query, end, 1 / sum[0], 1 / sum[1]);
}

template <int D, int STEP>
DEVICE void flash_backward_queries(bf16 *d_qkv, const bf16 *d_out, const bf16 *qkv, const float *log_sums,
                                   const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads,
                                   float scaling) {
    DYNAMIC_SHARED(bf16, shared);
    bf16 *queries = shared, *gradients = queries + 64 * (D + 8), *keys = gradients + 64 * (D + 8);
    bf16 *values = keys + 2 * STEP * (D + 8);
    int start = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int head = blockIdx.y, kv_head = head / (heads / kv_heads), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    i64 stride = (i64)(heads + 2 * kv_heads) * D;
    const bf16 *k = qkv + (i64)(heads + kv_head) * D, *v = k + (i64)kv_heads * D;
    int query = first + warp * 16 + lane / 4, last = min(end, first + 64), steps = ceiling(last - start, STEP);
    float scale = scaling * LOG2_E, log_sum[2] = {0, 0}, along[2] = {0, 0};
    UNROLL for (int half = 0; half < 2; half++)
        if (query + half * 8 < end) {
            log_sum[half] = log_sums[(i64)head * tokens + query + half * 8] * LOG2_E;
            along[half] = delta[(i64)head * tokens + query + half * 8];
        }

    copy_rows<D, 64>(queries, qkv + (i64)head * D, stride, first, end);
    copy_rows<D, 64>(gradients, d_out + (i64)head * D, (i64)heads * D, first, end);
    copy_rows<D, STEP>(keys, k, stride, start, end);
    copy_rows<D, STEP>(values, v, stride, start, end);
    copy_commit();
    float dq[D / 8][4];
    UNROLL for (int d = 0; d < D / 8; d++) dq[d][0] = dq[d][1] = dq[d][2] = dq[d][3] = 0;
    for (int step = 0; step < steps; step++) {
        int from = start + step * STEP, place = step % 2 * STEP * (D + 8), other = STEP * (D + 8) - place;
        if (step + 1 < steps) {
            copy_rows<D, STEP>(keys + other, k, stride, from + STEP, end);
            copy_rows<D, STEP>(values + other, v, stride, from + STEP, end);
            copy_commit();
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        float s[STEP / 8][4], dp[STEP / 8][4];
        scores_of<D, STEP>(s, queries, warp * 16, keys + place);
        scores_of<D, STEP>(dp, gradients, warp * 16, values + place);
        UNROLL for (int n = 0; n < STEP / 8; n++)
            UNROLL for (int i = 0; i < 4; i++) {
                bool hidden = from + n * 8 + lane % 4 * 2 + i % 2 > query + i / 2 * 8;
                float p = hidden ? 0.0f : exp2_fast(s[n][i] * scale - log_sum[i / 2]);
                s[n][i] = p * (dp[n][i] - along[i / 2]);
            }
        add_product<D, STEP>(dq, s, keys + place);
        __syncthreads();
    }
    store_rows<D>(d_qkv + (i64)head * D, stride, dq, query, end, scaling, scaling);
}

template <int D, int STEP>
DEVICE void flash_backward_keys(bf16 *d_qkv, const bf16 *d_out, const bf16 *qkv, const float *log_sums,
                                const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads,
                                float scaling) {
    DYNAMIC_SHARED(bf16, shared);
    bf16 *keys = shared, *values = keys + 64 * (D + 8), *queries = values + 64 * (D + 8);
    bf16 *gradients = queries + 2 * STEP * (D + 8);
    float *row_sums = reinterpret_cast<float *>(gradients + 2 * STEP * (D + 8)), *row_deltas = row_sums + 2 * STEP;
    int end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2], group = heads / kv_heads;
    int kv_head = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32, key = first + warp * 16 + lane / 4;
    i64 stride = (i64)(heads + 2 * kv_heads) * D;
    const bf16 *k = qkv + (i64)(heads + kv_head) * D, *v = k + (i64)kv_heads * D;
    int tiles_per_head = ceiling(end - first, STEP), steps = tiles_per_head * group;
    float scale = scaling * LOG2_E;
    auto copy_step = [&](int step) {
        int head = kv_head * group + step / tiles_per_head, from = first + step % tiles_per_head * STEP;
        int place = step % 2 * STEP * (D + 8);
        copy_rows<D, STEP>(queries + place, qkv + (i64)head * D, stride, from, end);
        copy_rows<D, STEP>(gradients + place, d_out + (i64)head * D, (i64)heads * D, from, end);
        copy_commit();
        int row = threadIdx.x;
        if (row < STEP) {
            bool inside = from + row < end;
            row_sums[step % 2 * STEP + row] = inside ? log_sums[(i64)head * tokens + from + row] * LOG2_E : 0.0f;
            row_deltas[step % 2 * STEP + row] = inside ? delta[(i64)head * tokens + from + row] : 0.0f;
        }
    };

    copy_rows<D, 64>(keys, k, stride, first, end);
    copy_rows<D, 64>(values, v, stride, first, end);
    copy_step(0);
    float dk[D / 8][4], dv[D / 8][4];
    UNROLL for (int d = 0; d < D / 8; d++) {
        dk[d][0] = dk[d][1] = dk[d][2] = dk[d][3] = 0;
        dv[d][0] = dv[d][1] = dv[d][2] = dv[d][3] = 0;
    }
    for (int step = 0; step < steps; step++) {
        int from = first + step % tiles_per_head * STEP, place = step % 2 * STEP * (D + 8);
        const float *sums = row_sums + step % 2 * STEP, *deltas = row_deltas + step % 2 * STEP;
        if (step + 1 < steps) {
            copy_step(step + 1);
            copy_wait<1>();
        } else {
            copy_wait<0>();
        }
        __syncthreads();
        // Transposed: rows are keys, columns queries.
        float s[STEP / 8][4], dp[STEP / 8][4];
        scores_of<D, STEP>(s, keys, warp * 16, queries + place);
        scores_of<D, STEP>(dp, values, warp * 16, gradients + place);
        UNROLL for (int n = 0; n < STEP / 8; n++)
            UNROLL for (int i = 0; i < 4; i++) {
                int row = n * 8 + lane % 4 * 2 + i % 2;
                bool hidden = key + i / 2 * 8 > from + row || from + row >= end;
                s[n][i] = hidden ? 0.0f : exp2_fast(s[n][i] * scale - sums[row]);
                dp[n][i] = s[n][i] * (dp[n][i] - deltas[row]);
            }
        add_product<D, STEP>(dv, s, gradients + place);
        add_product<D, STEP>(dk, dp, queries + place);
        __syncthreads();
    }
    bf16 *to = d_qkv + (i64)(heads + kv_head) * D;
    store_rows<D>(to, stride, dk, key, end, scaling, scaling);
    store_rows<D>(to + (i64)kv_heads * D, stride, dv, key, end, 1, 1);
}

#define FLASH(D, FORWARD_STEP, BACKWARD_STEP)                                                                           \
    KERNEL_FOR(128, 2, flash_forward_##D, bf16 *out, float *log_sums, const bf16 *qkv, const u32 *tiles, int tokens,    \
               int heads, int kv_heads, float scaling) {                                                                \
        flash_forward<D, FORWARD_STEP>(out, log_sums, qkv, tiles, tokens, heads, kv_heads, scaling);                    \
    }                                                                                                                   \
    KERNEL_FOR(128, 2, flash_backward_queries_##D, bf16 *d_qkv, const bf16 *d_out, const bf16 *qkv,                     \
               const float *log_sums, const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads,        \
               float scaling) {                                                                                         \
        flash_backward_queries<D, BACKWARD_STEP>(d_qkv, d_out, qkv, log_sums, delta, tiles, tokens, heads, kv_heads,    \
                                                 scaling);                                                              \
    }                                                                                                                   \
    KERNEL_FOR(128, 2, flash_backward_keys_##D, bf16 *d_qkv, const bf16 *d_out, const bf16 *qkv, const float *log_sums, \
               const float *delta, const u32 *tiles, int tokens, int heads, int kv_heads, float scaling) {              \
        flash_backward_keys<D, BACKWARD_STEP>(d_qkv, d_out, qkv, log_sums, delta, tiles, tokens, heads, kv_heads,       \
                                              scaling);                                                                 \
    }
FLASH(32, 64, 64)
FLASH(64, 64, 64)
FLASH(128, 64, 32)
