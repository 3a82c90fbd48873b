//! `CreateMode` and `EphemeralType`: the kinds of nodes, as flags of a create and as the owner
//! field of a node.

use super::Code;

/// The flags of a create request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[allow(missing_docs, reason = "named as in CreateMode")]
pub enum CreateMode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
    Container = 4,
    PersistentWithTtl = 5,
    PersistentSequentialWithTtl = 6,
}

impl CreateMode {
    /// `CreateMode.fromFlag(int)`: unknown flags are `BadArguments`.
    pub fn from_flag(flag: i32) -> Result<CreateMode, Code> {
        Ok(match flag {
            0 => CreateMode::Persistent,
            1 => CreateMode::Ephemeral,
            2 => CreateMode::PersistentSequential,
            3 => CreateMode::EphemeralSequential,
            4 => CreateMode::Container,
            5 => CreateMode::PersistentWithTtl,
            6 => CreateMode::PersistentSequentialWithTtl,
            _ => return Err(Code::BadArguments),
        })
    }

    /// The node belongs to the session that creates it.
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }

    /// The server appends the parent's counter to the name.
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// The node is removed when its last child has gone.
    pub fn is_container(self) -> bool {
        self == CreateMode::Container
    }

    /// The node is removed when it was not touched for its time to live.
    pub fn is_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }
}

/// What the owner field of a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EphemeralType {
    /// Persistent.
    Void,
    /// Ephemeral, owned by a session.
    Normal,
    /// Container.
    Container,
    /// With a time to live.
    Ttl,
}

/// How owner fields are to be read (`zookeeper.extendedTypesEnabled`,
/// `zookeeper.emulate353TTLNodes`). All servers of an ensemble must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtendedTypes {
    /// TTL nodes are known.
    pub enabled: bool,
    /// The encoding of 3.5.3 is understood too (read only).
    pub emulate_353: bool,
}

const EXTENDED_MASK: u64 = 0xff00_0000_0000_0000;
const VALUE_MASK: u64 = 0x0000_00ff_ffff_ffff;

impl EphemeralType {
    /// The owner field of containers: `Long.MIN_VALUE`.
    pub const CONTAINER_OWNER: i64 = i64::MIN;
    /// The longest time to live, in milliseconds: 40 bits.
    pub const TTL_MAX: i64 = VALUE_MASK as i64;

    /// `EphemeralType.get`. Where Java throws for reserved bits, this answers `Void`: a reader of
    /// the log must be total.
    pub fn of(owner: i64, types: ExtendedTypes) -> EphemeralType {
        let bits = owner as u64;
        if types.enabled {
            // EphemeralTypeEmulate353: MIN is a container, any other set top bit a TTL.
            if types.emulate_353 && owner < 0 && owner != EphemeralType::CONTAINER_OWNER {
                return EphemeralType::Ttl;
            }
            if bits & EXTENDED_MASK == EXTENDED_MASK {
                let reserved = (bits >> 40) & 0xffff;
                return if reserved == 0 { EphemeralType::Ttl } else { EphemeralType::Void };
            }
        }
        match owner {
            EphemeralType::CONTAINER_OWNER => EphemeralType::Container,
            0 => EphemeralType::Void,
            _ => EphemeralType::Normal,
        }
    }

    /// The owner field of a node with `ttl` milliseconds to live; `None` outside 1..=[`Self::TTL_MAX`].
    pub fn ttl_owner(ttl: i64) -> Option<i64> {
        (1..=EphemeralType::TTL_MAX).contains(&ttl).then_some((EXTENDED_MASK as i64) | ttl)
    }

    /// The time to live in the owner field of a TTL node.
    pub fn ttl_of(owner: i64) -> i64 {
        (owner as u64 & VALUE_MASK) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: ExtendedTypes = ExtendedTypes { enabled: true, emulate_353: false };

    #[test]
    fn owners_tell_the_kind_of_node() {
        let ttl = EphemeralType::ttl_owner(1000).unwrap();
        assert_eq!(ttl as u64, 0xff00_0000_0000_03e8);
        assert_eq!(EphemeralType::of(ttl, ON), EphemeralType::Ttl);
        assert_eq!(EphemeralType::ttl_of(ttl), 1000);
        assert_eq!(EphemeralType::of(ttl, ExtendedTypes::default()), EphemeralType::Normal);
        assert_eq!(EphemeralType::of(i64::MIN, ON), EphemeralType::Container);
        assert_eq!(EphemeralType::of(0, ON), EphemeralType::Void);
        assert_eq!(EphemeralType::of(0x100_0001, ON), EphemeralType::Normal);
    }

    #[test]
    fn a_ttl_has_forty_bits() {
        assert_eq!(EphemeralType::ttl_owner(0), None);
        assert_eq!(EphemeralType::ttl_owner(-1), None);
        assert!(EphemeralType::ttl_owner(EphemeralType::TTL_MAX).is_some());
        assert_eq!(EphemeralType::ttl_owner(EphemeralType::TTL_MAX + 1), None);
    }
}
