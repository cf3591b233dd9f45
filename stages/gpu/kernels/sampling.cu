// From logits to a token, by the rules of model::generate::sampling: repetition penalty, temperature, top-k, top-p,
// min-p, then a draw over the ids in order. One block of 1024 threads per row.
//
// Sums of probabilities are of integers (a probability of 1 is 2^44), so that their order does not matter: the token
// does not depend on how threads meet. Thresholds are found digit by digit, 8 bits at a time, in a histogram of the
// values' bits; nothing is sorted. The draw is number `drawn` of ChaCha12 under the sequence's key, as on the CPU.
// Rows of NOBODY are left alone.

#define SAMPLING_THREADS 1024
#define ONE 17592186044416.0f // 2^44
#define NOBODY 0xffffffffu

// Settings of a sequence, as the host lays them out.
struct SamplingSettings {
    float inverse_temperature; // 0: greedy
    u32 top_k;                 // 0: all
    double dropped;            // 1 - top_p
    float min_p;
    float penalty; // 1: none
    u32 key[8];
    u64 drawn;
};

DEVICE void quarter_round(u32 &a, u32 &b, u32 &c, u32 &d) {
    a += b, d ^= a, d = d << 16 | d >> 16;
    c += d, b ^= c, b = b << 12 | b >> 20;
    a += b, d ^= a, d = d << 8 | d >> 24;
    c += d, b ^= c, b = b << 7 | b >> 25;
}

// 64 bits of ChaCha12's stream: words 2n and 2n + 1.
DEVICE u64 chacha12(const u32 *key, u64 n) {
    u64 counter = n / 8;
    u32 start[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u, key[0], key[1], key[2], key[3],
                     key[4], key[5], key[6], key[7], (u32)counter, (u32)(counter >> 32), 0, 0};
    u32 x[16];
    UNROLL for (int i = 0; i < 16; i++) x[i] = start[i];
    for (int round = 0; round < 6; round++) {
        quarter_round(x[0], x[4], x[8], x[12]);
        quarter_round(x[1], x[5], x[9], x[13]);
        quarter_round(x[2], x[6], x[10], x[14]);
        quarter_round(x[3], x[7], x[11], x[15]);
        quarter_round(x[0], x[5], x[10], x[15]);
        quarter_round(x[1], x[6], x[11], x[12]);
        quarter_round(x[2], x[7], x[8], x[13]);
        quarter_round(x[3], x[4], x[9], x[14]);
    }
    u64 result = 0;
    UNROLL for (int i = 0; i < 16; i += 2)
        if (i == (int)(n % 8) * 2) result = (u64)(x[i] + start[i]) | (u64)(x[i + 1] + start[i + 1]) << 32;
    return result;
}

// The upper half of a product.
DEVICE u64 high_product(u64 a, u64 b) {
    u64 a0 = (u32)a, a1 = a >> 32, b0 = (u32)b, b1 = b >> 32;
    u64 middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (u32)middle;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

// Bits whose order is that of the floats.
DEVICE u32 ordered(float x) {
    u32 bits = __float_as_uint(x);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

struct Sampler {
    const float *logits;
    const u32 *occurred; // bits by id
    float inverse_temperature, penalty, largest;
    u32 threshold; // of ordered(score)
    bool cuts;     // by top-k

    DEVICE_METHOD float score(int id) const {
        float z = logits[id];
        if (occurred && occurred[id / 32] >> id % 32 & 1) z = z < 0 ? z * penalty : z / penalty;
        return z * inverse_temperature;
    }
    DEVICE_METHOD float weight(int id) const {
        float z = score(id);
        return cuts && ordered(z) < threshold ? 0.0f : exp_fast(z - largest);
    }
};

DEVICE u64 amount(float weight) { return (u64)(weight * ONE); }

// The bucket of a histogram of 256 in which the running sum, from bucket 0 on, first exceeds `limit` (the last one if
// none does); `before` is the sum below it. Each warp by itself.
DEVICE int crossing(const u64 *histogram, u64 limit, u64 &before) {
    int lane = threadIdx.x % 32;
    u64 own = 0;
    UNROLL for (int i = 0; i < 8; i++) own += histogram[lane * 8 + i];
    u64 upto = own;
    UNROLL for (int by = 1; by < 32; by *= 2) {
        u64 other = __shfl_up_sync(FULL, upto, by);
        if (lane >= by) upto += other;
    }
    u32 over = __ballot_sync(FULL, upto > limit);
    int part = over ? __ffs(over) - 1 : 31, bucket = part * 8;
    before = __shfl_sync(FULL, upto - own, part);
    while (bucket < part * 8 + 7 && before + histogram[bucket] <= limit) before += histogram[bucket++];
    return bucket;
}

KERNEL_FOR(1024, 1, sample, u32 *tokens, float *log_probs, float *processed_log_probs, const float *all_logits,
           SamplingSettings *all_settings, u32 *all_occurred, const u32 *slots, int vocab) {
    __shared__ float scratch[32];
    __shared__ u64 sum_scratch[32], histogram[256], warp_sums[32];
    __shared__ u32 warp_ties[32], chosen;
    int row = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u64 slot = slots[row];
    if (slot == NOBODY) return;
    SamplingSettings *settings = all_settings + slot;
    Sampler sampler;
    sampler.logits = all_logits + (i64)row * vocab;
    sampler.penalty = settings->penalty;
    u32 *occurred = all_occurred + slot * ceiling(vocab, 32);
    sampler.occurred = settings->penalty != 1.0f ? occurred : nullptr;
    sampler.inverse_temperature = settings->inverse_temperature;
    sampler.cuts = false, sampler.threshold = 0;
    bool greedy = settings->inverse_temperature == 0.0f;
    if (greedy) sampler.inverse_temperature = 1.0f;

    float plain_largest, plain_sum;
    row_sum(plain_largest, plain_sum, sampler.logits, vocab, vocab % 8 == 0 && aligned(all_logits), scratch);
    float largest = minus_infinity();
    for (int id = threadIdx.x; id < vocab; id += SAMPLING_THREADS) largest = fmaxf(largest, sampler.score(id));
    sampler.largest = largest = block_max(largest, scratch);

    if (threadIdx.x == 0) chosen = 0xffffffffu;
    __syncthreads();
    if (greedy) {
        // The lowest id of the largest score.
        for (int id = threadIdx.x; id < vocab; id += SAMPLING_THREADS)
            if (sampler.score(id) == largest) atomicMin(&chosen, (u32)id);
        __syncthreads();
        if (threadIdx.x == 0) {
            u32 token = min(chosen, (u32)vocab - 1);
            tokens[row] = token;
            log_probs[row] = sampler.logits[token] - (plain_largest + logf(plain_sum));
            processed_log_probs[row] = 0;
            settings->drawn++;
            if (sampler.occurred) occurred[token / 32] |= 1u << token % 32;
        }
        return;
    }

    // Top-k: the k-th largest score, digit by digit from the top.
    u32 top_k = settings->top_k;
    if (top_k > 0 && top_k < (u32)vocab) {
        u32 prefix = 0;
        u64 left = (u32)vocab - top_k; // so many are below the k-th largest, of those with the prefix
        for (int shift = 24; shift >= 0; shift -= 8) {
            for (int i = threadIdx.x; i < 256; i += SAMPLING_THREADS) histogram[i] = 0;
            __syncthreads();
            for (int id = threadIdx.x; id < vocab; id += SAMPLING_THREADS) {
                u32 bits = ordered(sampler.score(id));
                if (shift == 24 || bits >> (shift + 8) == prefix >> (shift + 8)) atomicAdd(&histogram[bits >> shift & 255], (u64)1);
            }
            __syncthreads();
            u64 before;
            prefix |= (u32)crossing(histogram, left, before) << shift;
            left -= before;
            __syncthreads();
        }
        sampler.threshold = prefix, sampler.cuts = true;
    }

    // Top-p: the least weight that stays, and how many of its equals.
    u32 least = 0;
    u64 dropped_ties = 0;
    if (settings->dropped > 0) {
        u64 sum = 0;
        for (int id = threadIdx.x; id < vocab; id += SAMPLING_THREADS) sum += amount(sampler.weight(id));
        sum = block_sum(sum, sum_scratch);
        u64 limit = (u64)((double)sum * settings->dropped);
        for (int shift = 24; shift >= 0; shift -= 8) {
            for (int i = threadIdx.x; i < 256; i += SAMPLING_THREADS) histogram[i] = 0;
            __syncthreads();
            for (int id = threadIdx.x; id < vocab; id += SAMPLING_THREADS) {
                float weight = sampler.weight(id);
                u32 bits = __float_as_uint(weight);
                if (shift == 24 || bits >> (shift + 8) == least >> (shift + 8)) {
                    u64 value = amount(weight);
                    if (value) atomicAdd(&histogram[bits >> shift & 255], value);
                }
            }
            __syncthreads();
            u64 before;
            least |= (u32)crossing(histogram, limit, before) << shift;
            limit -= before;
            __syncthreads();
        }
        u64 one = amount(__uint_as_float(least));
        dropped_ties = one ? limit / one : 0;
    }
    // Min-p; the largest weight is 1.
    float min_p = settings->min_p;

    // Each warp has the ids of a range, in order.
    int range = ceiling(ceiling(vocab, 32), 32) * 32, begin = min(vocab, warp * range), end = min(vocab, begin + range);
    u32 ties = 0;
    // Without top-p the least weight is 0, and nothing is lost with it.
    for (int id = begin + lane; id < end && least > 0; id += 32) ties += __float_as_uint(sampler.weight(id)) == least;
    UNROLL for (int other = 16; other; other /= 2) ties += __shfl_xor_sync(FULL, ties, other);
    if (lane == 0) warp_ties[warp] = ties;
    __syncthreads();
    u64 ties_before = 0, ties_in_all = 0;
    for (int i = 0; i < 32; i++) {
        if (i < warp) ties_before += warp_ties[i];
        ties_in_all += warp_ties[i];
    }
    u64 kept_ties = ties_in_all > dropped_ties ? ties_in_all - dropped_ties : 0;

    // Twice over the range: the sum, then the draw. All lanes together, 32 ids at a time.
    u64 total = 0, goal = 0, reached = 0, own = 0;
    for (int pass = 0; pass < 2; pass++) {
        u64 rank = ties_before;
        bool found = false;
        for (int id_0 = begin; id_0 < end && !found; id_0 += 32) {
            int id = id_0 + lane;
            float weight = id < end ? sampler.weight(id) : 0.0f;
            u32 bits = __float_as_uint(weight);
            u32 equal = __ballot_sync(FULL, id < end && bits == least);
            bool kept = id < end && weight >= min_p && (bits > least || (bits == least && rank + __popc(equal & ((1u << lane) - 1)) < kept_ties));
            rank += __popc(equal);
            u64 value = kept ? amount(weight) : 0;
            if (pass == 0) {
                own += value;
            } else {
                u64 upto = value;
                UNROLL for (int by = 1; by < 32; by *= 2) {
                    u64 other = __shfl_up_sync(FULL, upto, by);
                    if (lane >= by) upto += other;
                }
                u32 over = __ballot_sync(FULL, reached + upto > goal && value > 0);
                if (over) {
                    if (lane == __ffs(over) - 1) {
                        chosen = (u32)id;
                        tokens[row] = (u32)id;
                        log_probs[row] = sampler.logits[id] - (plain_largest + logf(plain_sum));
                        processed_log_probs[row] = logf((float)((double)value / (double)total));
                        if (sampler.occurred) occurred[id / 32] |= 1u << id % 32;
                    }
                    found = true;
                }
                reached += __shfl_sync(FULL, upto, 31);
            }
        }
        if (pass == 0) {
            UNROLL for (int other = 16; other; other /= 2) own += __shfl_xor_sync(FULL, own, other);
            if (lane == 0) warp_sums[warp] = own;
            __syncthreads();
            for (int i = 0; i < 32; i++) {
                if (i < warp) reached += warp_sums[i];
                total += warp_sums[i];
            }
            // 53 random bits, as a share of the total.
            goal = high_product(total, chacha12(settings->key, settings->drawn) >> 11 << 11);
            // Another warp's range has it.
            if (reached > goal || reached + warp_sums[warp] <= goal) end = begin;
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        settings->drawn++;
        // Nothing to draw from: the logits are not numbers.
        if (chosen == 0xffffffffu) {
            tokens[row] = 0;
            log_probs[row] = processed_log_probs[row] = __uint_as_float(0x7fc00000u);
        }
    }
}
