//! The order in which Java walks over a `HashMap` with keys of type `Long`.
//!
//! The texts of configurations are written in that order, and clients may compare them. Within one
//! bucket it depends on the history of the map; here the smaller key comes first.

/// `keys` in the order of a `HashMap` that grew from empty to hold them all.
pub(super) fn hash_map_order(keys: impl IntoIterator<Item = i64>) -> Vec<i64> {
    let mut keys: Vec<i64> = keys.into_iter().collect();
    // 16 buckets, doubled when more than three quarters are taken.
    let mut buckets: u64 = 16;
    while keys.len() as u64 > buckets / 4 * 3 {
        buckets *= 2;
    }
    keys.sort_by_key(|key| (bucket(*key, buckets), *key));
    keys
}

/// `Long.hashCode`, `HashMap.hash`, and the bits that choose the bucket.
const fn bucket(key: i64, buckets: u64) -> u64 {
    let key = key.cast_unsigned();
    let hash = (key ^ (key >> 32)) & 0xffff_ffff;
    (hash ^ (hash >> 16)) & (buckets - 1)
}

#[cfg(test)]
mod tests {
    use super::hash_map_order;

    #[test]
    fn order_is_that_of_javas_buckets() {
        let check = |keys: &[i64], expected: &[i64]| {
            assert_eq!(hash_map_order(keys.iter().copied()), expected);
        };
        check(&[3, 1, 2], &[1, 2, 3]);
        check(&[17, 2, 16], &[16, 17, 2]);
        // Thirteen keys need 32 buckets.
        check(
            &[17, 2, 16, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11],
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 17],
        );
        check(&[-1, 5], &[-1, 5]);
        check(&[1 << 32, 2], &[1 << 32, 2]);
        check(&[0x10002, 1], &[1, 0x10002]);
    }
}
