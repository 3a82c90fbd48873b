//! Checks of znode paths (Java: `o.a.z.common.PathUtils`).
//!
//! Java walks UTF-16 units: positions in messages count units, and because surrogates are refused,
//! so is every character above U+FFFF.

/// Why a path is refused; the text is Java's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The path is empty.
    #[error("Path length must be > 0")]
    Empty,
    /// The path does not start with a slash.
    #[error("Path must start with / character")]
    NoLeadingSlash,
    /// The path (not the root) ends with a slash.
    #[error("Path must not end with / character")]
    TrailingSlash,
    /// A character or an element is not allowed.
    #[error("Invalid path string \"{path}\" caused by {reason} @{position}")]
    Invalid {
        /// The whole path, for a sequential node with the digit Java appends.
        path: String,
        /// What is wrong.
        reason: &'static str,
        /// Index of the offending UTF-16 unit.
        position: usize,
    },
}

/// Checks a path; the root is allowed.
pub fn validate_path(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    match bytes {
        [] => return Err(PathError::Empty),
        [b'/'] => return Ok(()),
        [b'/', .., b'/'] => return Err(PathError::TrailingSlash),
        [b'/', ..] => {}
        _ => return Err(PathError::NoLeadingSlash),
    }
    // The length of the current element, and whether it consists of dots only; `position` counts
    // UTF-16 units. All characters up to the offending one are in the BMP, so one char is one unit.
    let (mut element, mut dots, mut position) = (0_usize, 0_usize, 0_usize);
    let invalid = |reason, position| PathError::Invalid { path: path.to_owned(), reason, position };
    let relative = |element: usize, dots| element == dots && (dots == 1 || dots == 2);
    for c in path.chars().skip(1) {
        position += 1;
        match c {
            '\0' => return Err(invalid("null character not allowed", position)),
            '/' if element == 0 => return Err(invalid("empty node name specified", position)),
            '/' if relative(element, dots) => {
                return Err(invalid("relative paths not allowed", position - 1));
            }
            '/' => (element, dots) = (0, 0),
            '.' => {
                element += 1;
                dots += 1;
            }
            '\u{1}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'.. => {
                return Err(invalid("invalid character", position));
            }
            _ => element += 1,
        }
    }
    if relative(element, dots) {
        return Err(invalid("relative paths not allowed", position));
    }
    Ok(())
}

/// As [`validate_path`]; for a sequential node the name may be empty, for digits follow.
pub fn validate_new_path(path: &str, is_sequential: bool) -> Result<(), PathError> {
    if is_sequential { validate_path(&format!("{path}1")) } else { validate_path(path) }
}

/// The first element of a path, if there is one (Java: `getTopNamespace`).
#[must_use]
pub fn top_namespace(path: &str) -> Option<&str> {
    // Compat: String.split drops trailing empty parts, so "/" and "//" have no namespace, while
    // "//a" has the empty one.
    let second = path.trim_end_matches('/').split('/').nth(1)?;
    Some(second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::golden::{hex, java_library, unhex};

    fn check(path: &str, expected: &str) {
        let actual = validate_path(path).map_or_else(|error| error.to_string(), |()| "ok".into());
        assert_eq!(actual, expected, "{path:?}");
    }

    fn check_reason(path: &str, reason: &str) {
        check(path, &format!("Invalid path string \"{path}\" caused by {reason}"));
    }

    #[test]
    fn good_paths_pass() {
        for path in
            ["/", "/a", "/a/b", "/.../x", "/a.", "/.a", "/..a", "/a..", "/a/...", "/é€\u{ffef}"]
        {
            check(path, "ok");
        }
    }

    #[test]
    fn bad_paths_give_javas_message() {
        check("", "Path length must be > 0");
        check("a", "Path must start with / character");
        check("a/", "Path must start with / character");
        check("//", "Path must not end with / character");
        check("/a/", "Path must not end with / character");
        check_reason("/a\0", "null character not allowed @2");
        check_reason("/a//b", "empty node name specified @3");
        check_reason("//b", "empty node name specified @1");
        check_reason("/.", "relative paths not allowed @1");
        check_reason("/./a", "relative paths not allowed @1");
        check_reason("/..", "relative paths not allowed @2");
        check_reason("/a/../b", "relative paths not allowed @4");
        check_reason("/a/.", "relative paths not allowed @3");
        check_reason("/\u{1}", "invalid character @1");
        check_reason("/a\u{1f}", "invalid character @2");
        check_reason("/\u{7f}", "invalid character @1");
        check_reason("/\u{9f}", "invalid character @1");
        check_reason("/é\u{e000}", "invalid character @2");
        check_reason("/\u{f8ff}", "invalid character @1");
        check_reason("/\u{fff0}", "invalid character @1");
        check_reason("/\u{ffff}", "invalid character @1");
        check_reason("/x😀", "invalid character @2");
    }

    #[test]
    fn a_sequential_path_may_end_with_a_slash() {
        assert_eq!(validate_new_path("/a/", true), Ok(()));
        assert_eq!(validate_new_path("/a/", false), Err(PathError::TrailingSlash));
        assert_eq!(validate_new_path("/a/.", true), Ok(()));
    }

    #[test]
    fn top_namespace_is_the_first_element() {
        for (path, expected) in [
            ("/", None),
            ("", None),
            ("//", None),
            ("/a", Some("a")),
            ("/a/b", Some("a")),
            ("//a", Some("")),
            ("/a/", Some("a")),
        ] {
            assert_eq!(top_namespace(path), expected, "{path:?}");
        }
    }

    /// 200 random paths and what Java said.
    #[test]
    fn goldens_of_java_are_reproduced() {
        for (path, expected) in java_library("path") {
            let path = String::from_utf8(unhex(path)).unwrap();
            let said =
                validate_path(&path).map_or_else(|error| hex(&error.to_string()), |()| "ok".into());
            assert_eq!(said, expected, "{path:?}");
        }
    }
}
