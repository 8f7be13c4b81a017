// Counter-based random numbers: element `index` of draw `offset` of stream `seed` is a pure function of the three.
//
// Philox4x32-10 (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): ten rounds turn a
// 128-bit counter and a 64-bit key into four random words. key = seed; counter = (index / 4, offset); element `index`
// takes word index % 4, so a thread that computes four neighbours runs the ten rounds once. Nothing is stored: a
// backward pass draws the same numbers again.
#pragma once

namespace gc {

__device__ __forceinline__ uint4 philox(unsigned long long key, unsigned long long low, unsigned long long high) {
  unsigned int k0 = static_cast<unsigned int>(key), k1 = static_cast<unsigned int>(key >> 32);
  uint4 c = make_uint4(static_cast<unsigned int>(low), static_cast<unsigned int>(low >> 32),
                       static_cast<unsigned int>(high), static_cast<unsigned int>(high >> 32));
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned int high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    const unsigned int high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// One of 2^24 equally likely numbers in [0, 1).
__device__ __forceinline__ float uniform(unsigned long long seed, unsigned long long offset, unsigned long long index) {
  const uint4 words = philox(seed, index >> 2, offset);
  const unsigned int which = static_cast<unsigned int>(index) & 3u;
  const unsigned int word = which < 2u ? (which == 0u ? words.x : words.y) : (which == 2u ? words.z : words.w);
  return static_cast<float>(word >> 8) * 5.9604644775390625e-8f;  // 2^-24
}

}  // namespace gc
