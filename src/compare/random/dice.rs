//! The same throws for the same seed, everywhere.

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 0 up to, not including, `sides`; 0 for none.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let sides = u64::try_from(sides).unwrap_or(u64::MAX).max(1);
        usize::try_from((x ^ (x >> 31)) % sides).unwrap_or_default()
    }

    /// One element; the default of an empty list.
    pub fn one_of<T: Copy + Default>(&mut self, list: &[T]) -> T {
        let at = self.roll(list.len());
        list.get(at).copied().unwrap_or_default()
    }

    /// True once in `sides` throws.
    pub fn is_one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}
