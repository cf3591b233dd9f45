// y[r, n] = scale sum_k x[r, k] w[n, k], or added to what is there, each row's bits the same whatever rows are beside
// it: decoding. Rows of y are `stride` values apart.
//
// bf16: tensor cores. A block has TILE_M rows and TILE_N outputs; its 8 warps cut the inner dimension in 8 and their
// sums are added in a fixed order: where it is cut depends on the inner size alone, and both tiles run through a row
// with the same instructions. A lane reads 16 bytes of a row at once: which of them is which of mma's inner places does
// not matter, as long as both sides agree. No shared memory on the way. Blocks with the same weights follow one another.
// f32: one warp per output and 8 rows.

// Of 8 values, `count` are inside the row, the others 0. WIDE: `count` is 8 or none, and the address one of 16 bytes.
template <bool WIDE> DEVICE uint4 read16(const bf16 *p, int count) {
    if (WIDE) return count > 0 ? *reinterpret_cast<const uint4 *>(p) : make_uint4(0, 0, 0, 0);
    u32 words[4];
    UNROLL for (int i = 0; i < 4; i++) {
        u32 low = 2 * i < count ? p[2 * i].bits : 0, high = 2 * i + 1 < count ? p[2 * i + 1].bits : 0;
        words[i] = low | high << 16;
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// This warp's share of the sums.
template <int TILE_M, int TILE_N, bool WIDE>
DEVICE void share_of_products(float (&d)[TILE_M / 16][TILE_N / 8][4], const bf16 *x, const bf16 *w, int row_0, int out_0,
                              int rows, int outputs, int inner) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int share = ceiling(ceiling(inner, 32), 8) * 32, from = warp * share, to = min(inner, from + share);
    UNROLL for (int m = 0; m < TILE_M / 16; m++)
        UNROLL for (int n = 0; n < TILE_N / 8; n++) d[m][n][0] = d[m][n][1] = d[m][n][2] = d[m][n][3] = 0;
#pragma unroll (TILE_M == 16 ? 4 : 1)
    for (int k = from; k < to; k += 32) {
        int at = k + 8 * t, left = inner - at;
        uint4 b[TILE_N / 8];
        UNROLL for (int n = 0; n < TILE_N / 8; n++) {
            int out = out_0 + n * 8 + g;
            b[n] = read16<WIDE>(w + (i64)out * inner + at, out < outputs ? left : 0);
        }
        UNROLL for (int m = 0; m < TILE_M / 16; m++) {
            int row = row_0 + m * 16 + g;
            uint4 low = read16<WIDE>(x + (i64)row * inner + at, row < rows ? left : 0);
            uint4 high = read16<WIDE>(x + (i64)(row + 8) * inner + at, row + 8 < rows ? left : 0);
            u32 first[4] = {low.x, high.x, low.y, high.y}, second[4] = {low.z, high.z, low.w, high.w};
            UNROLL for (int n = 0; n < TILE_N / 8; n++) {
                mma(d[m][n], first, b[n].x, b[n].y);
                mma(d[m][n], second, b[n].z, b[n].w);
            }
        }
    }
}

template <typename O, int TILE_M, int TILE_N>
DEVICE void row_product(O *y, const bf16 *x, const bf16 *w, int rows, int outputs, int inner, i64 stride,
                        int accumulate, float scale) {
    __shared__ float sums[8][16][TILE_N + 1];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    int row_0 = blockIdx.x * TILE_M, out_0 = blockIdx.y * TILE_N;
    float d[TILE_M / 16][TILE_N / 8][4];
    if (inner % 8 == 0 && aligned(x) && aligned(w))
        share_of_products<TILE_M, TILE_N, true>(d, x, w, row_0, out_0, rows, outputs, inner);
    else
        share_of_products<TILE_M, TILE_N, false>(d, x, w, row_0, out_0, rows, outputs, inner);
    UNROLL for (int m = 0; m < TILE_M / 16; m++) {
        __syncthreads();
        UNROLL for (int n = 0; n < TILE_N / 8; n++)
            UNROLL for (int i = 0; i < 4; i++) sums[warp][g + i / 2 * 8][n * 8 + 2 * t + i % 2] = d[m][n][i];
        __syncthreads();
        for (int i = threadIdx.x; i < 16 * TILE_N; i += 256) {
            int row = row_0 + m * 16 + i / TILE_N, out = out_0 + i % TILE_N;
            if (row >= rows || out >= outputs) continue;
            float sum = 0;
            UNROLL for (int part = 0; part < 8; part++) sum += sums[part][i / TILE_N][i % TILE_N];
            O *to = y + row * stride + out;
            *to = narrow<O>(accumulate ? fmaf(sum, scale, widen(*to)) : sum * scale);
        }
    }
}
KERNEL_FOR(256, 2, row_product_16_bf16_bf16, bf16 *y, const bf16 *x, const bf16 *w, int rows, int outputs, int inner, i64 stride, int accumulate, float scale) {
    row_product<bf16, 16, 16>(y, x, w, rows, outputs, inner, stride, accumulate, scale);
}
KERNEL_FOR(256, 2, row_product_16_f32_bf16, float *y, const bf16 *x, const bf16 *w, int rows, int outputs, int inner, i64 stride, int accumulate, float scale) {
    row_product<float, 16, 16>(y, x, w, rows, outputs, inner, stride, accumulate, scale);
}
KERNEL_FOR(256, 1, row_product_64_bf16_bf16, bf16 *y, const bf16 *x, const bf16 *w, int rows, int outputs, int inner, i64 stride, int accumulate, float scale) {
    row_product<bf16, 64, 32>(y, x, w, rows, outputs, inner, stride, accumulate, scale);
}
KERNEL_FOR(256, 1, row_product_64_f32_bf16, float *y, const bf16 *x, const bf16 *w, int rows, int outputs, int inner, i64 stride, int accumulate, float scale) {
    row_product<float, 64, 32>(y, x, w, rows, outputs, inner, stride, accumulate, scale);
}

KERNEL_FOR(256, 2, row_product_f32, float *y, const float *x, const float *w, int rows, int outputs, int inner, i64 stride, int accumulate, float scale) {
    int out = blockIdx.y * 8 + threadIdx.x / 32, lane = threadIdx.x % 32, row_0 = blockIdx.x * 8;
    if (out >= outputs) return;
    bool wide = inner % 8 == 0 && aligned(x) && aligned(w);
    float sums[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int k = lane * 8; k < inner; k += 256) {
        Eight a, b;
        load8(b, w + (i64)out * inner + k, inner - k, wide);
        UNROLL for (int r = 0; r < 8; r++)
            if (row_0 + r < rows) {
                load8(a, x + (i64)(row_0 + r) * inner + k, inner - k, wide);
                UNROLL for (int i = 0; i < 8; i++) sums[r] = fmaf(a[i], b[i], sums[r]);
            }
    }
    UNROLL for (int r = 0; r < 8; r++) {
        float sum = warp_sum(sums[r]);
        if (lane != 0 || row_0 + r >= rows) continue;
        float *to = y + (row_0 + r) * stride + out;
        *to = accumulate ? fmaf(sum, scale, *to) : sum * scale;
    }
}
