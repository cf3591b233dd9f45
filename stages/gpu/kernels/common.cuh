// What several kernels share: sums over warps and blocks, and access to memory 8 values at a time.

typedef float f32; // so that the names of kernels can be made of types
typedef float Eight[8];

DEVICE int ceiling(int a, int b) { return (a + b - 1) / b; }

DEVICE float warp_sum(float x) {
    UNROLL for (int other = 16; other; other /= 2) x += __shfl_xor_sync(FULL, x, other);
    return x;
}

DEVICE float warp_max(float x) {
    UNROLL for (int other = 16; other; other /= 2) x = fmaxf(x, __shfl_xor_sync(FULL, x, other));
    return x;
}

// The sum over a block, in every thread, the same bits for the same number of threads. `scratch` has 32
// places; all threads of the block call.
template <typename T> DEVICE T block_sum(T x, T *scratch) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    UNROLL for (int other = 16; other; other /= 2) x += __shfl_xor_sync(FULL, x, other);
    __syncthreads();
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = lane < warps ? scratch[lane] : T(0);
    UNROLL for (int other = 16; other; other /= 2) x += __shfl_xor_sync(FULL, x, other);
    return x;
}

// As block_sum, the largest.
DEVICE float block_max(float x, float *scratch) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    return warp_max(lane < warps ? scratch[lane] : minus_infinity());
}

// Whether 8 values from `p` on can be moved in pieces of 16 bytes.
DEVICE bool aligned(const void *p) { return reinterpret_cast<u64>(p) % 16 == 0; }

// Reads `count` values, 8 at most; the others are 0. `wide` promises alignment.
DEVICE void load8(Eight &x, const float *p, i64 count, bool wide) {
    if (wide && count >= 8) {
        const float4 a = reinterpret_cast<const float4 *>(p)[0], b = reinterpret_cast<const float4 *>(p)[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    } else {
        UNROLL for (int i = 0; i < 8; i++) x[i] = i < count ? p[i] : 0.0f;
    }
}
DEVICE void load8(Eight &x, const bf16 *p, i64 count, bool wide) {
    if (wide && count >= 8) {
        const uint4 a = *reinterpret_cast<const uint4 *>(p);
        const u32 words[4] = {a.x, a.y, a.z, a.w};
        UNROLL for (int i = 0; i < 4; i++) {
            x[2 * i] = __uint_as_float(words[i] << 16);
            x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        }
    } else {
        UNROLL for (int i = 0; i < 8; i++) x[i] = i < count ? widen(p[i]) : 0.0f;
    }
}

// Writes the first `count`, 8 at most.
DEVICE void store8(float *p, const Eight &x, i64 count, bool wide) {
    if (wide && count >= 8) {
        reinterpret_cast<float4 *>(p)[0] = make_float4(x[0], x[1], x[2], x[3]);
        reinterpret_cast<float4 *>(p)[1] = make_float4(x[4], x[5], x[6], x[7]);
    } else {
        UNROLL for (int i = 0; i < 8; i++)
            if (i < count) p[i] = x[i];
    }
}
DEVICE void store8(bf16 *p, const Eight &x, i64 count, bool wide) {
    if (wide && count >= 8) {
        *reinterpret_cast<uint4 *>(p) =
            make_uint4(pack(x[0], x[1]), pack(x[2], x[3]), pack(x[4], x[5]), pack(x[6], x[7]));
    } else {
        UNROLL for (int i = 0; i < 8; i++)
            if (i < count) p[i] = narrow<bf16>(x[i]);
    }
}

// Two neighbours, the first at an even place of an array that starts aligned.
DEVICE float2 load2(const float *p) { return *reinterpret_cast<const float2 *>(p); }
DEVICE float2 load2(const bf16 *p) {
    u32 word = *reinterpret_cast<const u32 *>(p);
    float2 pair;
    pair.x = __uint_as_float(word << 16), pair.y = __uint_as_float(word & 0xffff0000u);
    return pair;
}

// out[i] = x[rows[i]]. One warp per row.
template <typename To, typename From> DEVICE void gather_rows(To *out, const From *x, const u32 *rows, int count, int width) {
    int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= count) return;
    const From *from = x + (i64)rows[row] * width;
    To *to = out + (i64)row * width;
    bool wide = width % 8 == 0 && aligned(out) && aligned(x);
    for (int col = lane * 8; col < width; col += 256) {
        Eight v;
        load8(v, from + col, width - col, wide);
        store8(to + col, v, width - col, wide);
    }
}
