//! `java.util.Random`: the generator that every server derives session passwords with.
//!
//! Its numbers are part of the protocol (a session's password must be the same on every server), so
//! it is not replaceable by a better generator. Nothing here is fit for secrets.

/// A linear congruential generator of 48 bits.
#[derive(Debug, Clone)]
pub struct JavaRandom {
    seed: u64,
}

impl JavaRandom {
    /// `new Random(seed)`.
    #[must_use]
    pub fn new(seed: i64) -> JavaRandom {
        JavaRandom { seed: (seed as u64 ^ MULTIPLIER) & MASK }
    }

    /// `nextInt()`.
    pub fn next_int(&mut self) -> i32 {
        self.next(32)
    }

    /// `nextDouble()`: in 0.0 (inclusive) .. 1.0 (exclusive).
    pub fn next_double(&mut self) -> f64 {
        let high = i64::from(self.next(26)) << 27;
        let low = i64::from(self.next(27));
        (high + low) as f64 / (1i64 << 53) as f64
    }

    /// `nextBytes(byte[])`: each number gives four bytes, the lowest first.
    pub fn next_bytes(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(4) {
            let number = self.next_int().to_le_bytes();
            for (byte, value) in chunk.iter_mut().zip(number) {
                *byte = value;
            }
        }
    }

    fn next(&mut self, bits: u32) -> i32 {
        self.seed = self.seed.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        (self.seed >> (48 - bits)) as i32
    }
}

const MULTIPLIER: u64 = 0x5_deec_e66d;
const MASK: u64 = (1 << 48) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_java() {
        for (seed, bits) in [
            (42, 0x3fe7_4833_a06f_f457),
            (43, 0x3fe7_4777_ca96_eeb4),
            (44, 0x3fe7_43cc_7559_d285),
            (45, 0x3fe7_4310_9780_cce2),
        ] {
            assert_eq!(JavaRandom::new(seed).next_double().to_bits(), bits, "{seed}");
        }
    }

    #[test]
    fn last_bytes_need_not_be_four() {
        let mut bytes = [0; 7];
        JavaRandom::new(-5).next_bytes(&mut bytes);
        assert_eq!(bytes, [0x66, 0xe8, 0xf0, 0x44, 0x43, 0xf4, 0x09]);
    }
}
