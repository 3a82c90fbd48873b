//! Access control (`ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`, `AuthUtil`).

use std::sync::Arc;

use log::error;

use super::{MatchValues, ProviderRegistry};

use crate::proto::{Acl, ClientInfo, Code, Id};

/// The providers and the switch that turns checks off: all that access control depends on.
#[derive(Clone)]
pub struct AclPolicy {
    providers: Arc<ProviderRegistry>,
    skip_acl: bool,
}

impl AclPolicy {
    /// With `skip_acl` (`zookeeper.skipACL=yes`) every check passes.
    #[must_use]
    pub fn new(providers: Arc<ProviderRegistry>, skip_acl: bool) -> AclPolicy {
        AclPolicy { providers, skip_acl }
    }

    /// The known authentication schemes.
    #[must_use]
    pub fn providers(&self) -> &ProviderRegistry {
        &self.providers
    }

    /// [`check_acl`] as an error code: `NoAuth`.
    pub fn check_acl(
        &self,
        acl: &[Acl],
        perm: i32,
        ids: &[Id],
        path: Option<&str>,
        set_acls: Option<&[Acl]>,
    ) -> Result<(), Code> {
        if check_acl(self.skip_acl, &self.providers, acl, perm, ids, path, set_acls) {
            Ok(())
        } else {
            Err(Code::NoAuth)
        }
    }

    /// [`fixup_acl`] with the policy's providers.
    pub fn fixup_acl(&self, ids: &[Id], acls: &[Acl]) -> Result<Vec<Acl>, Code> {
        fixup_acl(&self.providers, ids, acls)
    }
}

/// Whether a client with `ids` has one of the permissions `perm` on a node with `acl`.
///
/// An empty ACL allows everything, and so does an id of the scheme `super`. `path` is the node's
/// (`None` for reconfig), `set_acls` the new ACL if one is being set; only custom providers care.
#[must_use]
pub fn check_acl(
    skip_acl: bool,
    providers: &ProviderRegistry,
    acl: &[Acl],
    perm: i32,
    ids: &[Id],
    path: Option<&str>,
    set_acls: Option<&[Acl]>,
) -> bool {
    if skip_acl || acl.is_empty() {
        return true;
    }
    let allowing = || acl.iter().filter(|entry| entry.perms & perm != 0);
    // Asked first because it is the common case; the order does not matter for the answer.
    if allowing().any(|entry| is_world_anyone(&entry.id)) {
        return true;
    }
    if ids.iter().any(|id| &*id.scheme == "super") {
        return true;
    }
    allowing().any(|entry| {
        let scheme = &*entry.id.scheme;
        let mut candidates = ids.iter().filter(|id| &*id.scheme == scheme).peekable();
        if candidates.peek().is_none() {
            return false;
        }
        providers.provider(scheme).is_some_and(|provider| {
            candidates.any(|id| {
                provider.matches(&MatchValues {
                    path,
                    id: &id.id,
                    acl_expr: &entry.id.id,
                    perm,
                    set_acls,
                })
            })
        })
    })
}

/// The ACL a node gets when a client with `ids` sets `acls`: without duplicates, entries of the
/// scheme `auth` replaced by one for each id that stands for the client.
///
/// `InvalidAcl` if nothing is left of it to begin with, if a scheme is not known or an id not valid
/// in it, and if `auth` stands for nobody.
pub fn fixup_acl(providers: &ProviderRegistry, ids: &[Id], acls: &[Acl]) -> Result<Vec<Acl>, Code> {
    if acls.is_empty() {
        return Err(Code::InvalidAcl);
    }
    let mut fixed = Vec::with_capacity(acls.len());
    for (at, entry) in acls.iter().enumerate() {
        if acls.iter().take(at).any(|earlier| earlier == entry) {
            continue;
        }
        if is_world_anyone(&entry.id) {
            fixed.push(entry.clone());
        } else if &*entry.id.scheme == "auth" {
            let before = fixed.len();
            fixed.extend(
                ids.iter()
                    .filter(|id| stands_for_client(providers, id))
                    .map(|id| Acl { perms: entry.perms, id: id.clone() }),
            );
            if fixed.len() == before {
                return Err(Code::InvalidAcl);
            }
        } else {
            let provider = providers.provider(&entry.id.scheme).ok_or(Code::InvalidAcl)?;
            if !provider.is_valid(&entry.id.id) {
                return Err(Code::InvalidAcl);
            }
            fixed.push(entry.clone());
        }
    }
    Ok(fixed)
}

/// The ACL as a client without ADMIN sees it: the hashes of digest ids are replaced by `x`.
#[must_use]
pub fn redact_digest_ids(acls: &[Acl]) -> Vec<Acl> {
    acls.iter()
        .map(|entry| {
            if &*entry.id.scheme == "digest" {
                Acl::new(entry.perms, "digest", &redact(&entry.id.id))
            } else {
                entry.clone()
            }
        })
        .collect()
}

/// The answer to `whoAmI`: each id's scheme and user name, "" where there is none
/// (`AuthUtil.getClientInfos`).
#[must_use]
pub fn client_infos(providers: &ProviderRegistry, ids: &[Id]) -> Vec<ClientInfo> {
    ids.iter()
        .map(|id| ClientInfo {
            auth_scheme: id.scheme.to_string(),
            user: user_name(providers, id).unwrap_or_default().to_owned(),
        })
        .collect()
}

/// The user name in an id; `None` if its scheme has no provider, as `super` (`AuthUtil.getUser`).
#[must_use]
pub fn user_name<'a>(providers: &ProviderRegistry, id: &'a Id) -> Option<&'a str> {
    providers.provider(&id.scheme).map(|provider| provider.user_name(&id.id))
}

/// The user names of a client, separated by commas, for the audit log (`AuthUtil.getUsers`); `None`
/// if there is none.
#[must_use]
pub fn user_names(providers: &ProviderRegistry, ids: &[Id]) -> Option<String> {
    let names: Vec<&str> = ids
        .iter()
        .filter_map(|id| user_name(providers, id))
        // Java's `trim` takes control characters for blanks.
        .filter(|name| name.chars().any(|c| c > ' '))
        .collect();
    if names.is_empty() { None } else { Some(names.join(",")) }
}

fn is_world_anyone(id: &Id) -> bool {
    &*id.scheme == "world" && &*id.id == "anyone"
}

fn stands_for_client(providers: &ProviderRegistry, id: &Id) -> bool {
    match providers.provider(&id.scheme) {
        Some(provider) => provider.is_authenticated(),
        None => {
            error!("Missing AuthenticationProvider for {}", &*id.scheme);
            false
        }
    }
}

/// Java: `replaceAll(":.*", ":x")`, where the dot ends at a line terminator.
fn redact(id: &str) -> String {
    let mut redacted = String::with_capacity(id.len());
    let mut is_secret = false;
    for c in id.chars() {
        if matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            is_secret = false;
        }
        if !is_secret {
            redacted.push(c);
            if c == ':' {
                redacted.push('x');
                is_secret = true;
            }
        }
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::super::AuthSettings;
    use super::*;
    use crate::proto::perms;

    fn policy() -> AclPolicy {
        let settings = AuthSettings {
            auth_providers: vec![
                "org.apache.zookeeper.server.auth.SASLAuthenticationProvider".to_owned(),
            ],
            ..AuthSettings::default()
        };
        let providers = ProviderRegistry::new(&settings, &Arc::default()).unwrap();
        AclPolicy::new(Arc::new(providers), false)
    }

    fn ids(list: &[(&str, &str)]) -> Vec<Id> {
        list.iter().map(|(scheme, id)| Id::new(scheme, id)).collect()
    }

    fn acls(list: &[(i32, &str, &str)]) -> Vec<Acl> {
        list.iter().map(|(perms, scheme, id)| Acl::new(*perms, scheme, id)).collect()
    }

    #[test]
    fn any_entry_with_the_permission_and_a_matching_id_allows() {
        let check = |acl: &[(i32, &str, &str)], perm, client: &[(&str, &str)], expected| {
            let answer = policy().check_acl(&acls(acl), perm, &ids(client), Some("/a"), None);
            assert_eq!(answer.is_ok(), expected, "{acl:?} {perm} {client:?}");
        };
        let bob = ("digest", "bob:x");
        check(&[], perms::ADMIN, &[], true);
        check(&[(perms::READ, "world", "anyone")], perms::READ, &[], true);
        check(&[(perms::READ, "world", "anyone")], perms::WRITE, &[bob], false);
        check(&[(perms::READ, "world", "someone")], perms::READ, &[bob], false);
        check(&[(perms::ALL, "digest", "bob:x")], perms::WRITE, &[bob], true);
        check(&[(perms::ALL, "digest", "bob:y")], perms::WRITE, &[bob], false);
        check(&[(perms::ALL, "digest", "alice:x")], perms::READ, &[("super", "")], true);
        // One bit of several is enough: getACL asks for READ or ADMIN.
        check(&[(perms::ADMIN, "digest", "bob:x")], perms::READ | perms::ADMIN, &[bob], true);
        check(
            &[(perms::READ, "digest", "bob:x"), (perms::WRITE, "ip", "10.0.0.0/8")],
            perms::WRITE,
            &[bob, ("ip", "10.1.1.1")],
            true,
        );
        // The id of another scheme does not count, nor does a scheme without a provider.
        check(&[(perms::ALL, "digest", "bob:x")], perms::READ, &[("sasl", "bob:x")], false);
        check(&[(perms::ALL, "nosuch", "a")], perms::READ, &[("nosuch", "a")], false);
        check(&[(perms::ALL, "auth", "")], perms::READ, &[("auth", "")], false);
    }

    #[test]
    fn skipped_checks_always_pass() {
        let acl = acls(&[(0, "world", "anyone")]);
        let skipping = AclPolicy { skip_acl: true, ..policy() };
        assert_eq!(skipping.check_acl(&acl, perms::READ, &[], None, None), Ok(()));
        assert_eq!(policy().check_acl(&acl, perms::READ, &[], None, None), Err(Code::NoAuth));
    }

    #[test]
    fn acls_are_fixed_up_as_in_java() {
        let client =
            ids(&[("ip", "10.1.1.1"), ("digest", "bob:x"), ("sasl", "bob"), ("super", "")]);
        let check = |set: &[(i32, &str, &str)], expected: Option<&[(i32, &str, &str)]>| {
            let answer = policy().fixup_acl(&client, &acls(set));
            assert_eq!(answer, expected.map(acls).ok_or(Code::InvalidAcl), "{set:?}");
        };
        check(&[], None);
        check(&[(31, "world", "anyone")], Some(&[(31, "world", "anyone")]));
        check(&[(31, "world", "")], None);
        check(&[(31, "nosuch", "a")], None);
        check(&[(31, "", "a")], None);
        check(&[(31, "super", "")], None);
        check(&[(31, "digest", "bob")], None);
        check(&[(31, "ip", "10.0.0.0/33")], None);
        check(&[(31, "ip", "10.0.0.0/8")], Some(&[(31, "ip", "10.0.0.0/8")]));
        check(&[(-1, "world", "anyone")], Some(&[(-1, "world", "anyone")]));
        // Only ids that identify the client; its own id is of no matter.
        check(&[(3, "auth", "whatever")], Some(&[(3, "digest", "bob:x"), (3, "sasl", "bob")]));
        // Duplicates are removed before, not after.
        check(
            &[
                (3, "digest", "bob:x"),
                (3, "digest", "bob:x"),
                (1, "digest", "bob:x"),
                (3, "auth", ""),
            ],
            Some(&[
                (3, "digest", "bob:x"),
                (1, "digest", "bob:x"),
                (3, "digest", "bob:x"),
                (3, "sasl", "bob"),
            ]),
        );
        let nobody = policy().fixup_acl(&ids(&[("ip", "10.1.1.1")]), &acls(&[(31, "auth", "")]));
        assert_eq!(nobody, Err(Code::InvalidAcl));
    }

    #[test]
    fn hashes_are_hidden() {
        let check = |id, expected| {
            let hidden = redact_digest_ids(&acls(&[(1, "digest", id), (2, "ip", "::1")]));
            assert_eq!(hidden, acls(&[(1, "digest", expected), (2, "ip", "::1")]));
        };
        check("user:hash", "user:x");
        check("a:b\nc:d", "a:x\nc:x");
        check("nocolon", "nocolon");
        check("a:b:c", "a:x");
        check("u:\u{2028}x:y", "u:x\u{2028}x:x");
    }

    #[test]
    fn who_am_i_names_users_without_hashes() {
        let policy = policy();
        let client = ids(&[("ip", "10.1.1.1"), ("digest", "bob:x"), ("super", "CN=a")]);
        let info = |scheme: &str, user: &str| ClientInfo {
            auth_scheme: scheme.to_owned(),
            user: user.to_owned(),
        };
        assert_eq!(
            client_infos(policy.providers(), &client),
            [info("ip", "10.1.1.1"), info("digest", "bob"), info("super", "")]
        );
        assert_eq!(user_names(policy.providers(), &client).as_deref(), Some("10.1.1.1,bob"));
        assert_eq!(
            user_names(policy.providers(), &ids(&[("super", "a"), ("digest", " :x")])),
            None
        );
    }
}
