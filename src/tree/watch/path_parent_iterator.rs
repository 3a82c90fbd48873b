//! `PathParentIterator`: a path, then its parents up to the root.

/// Yields `/a/b`, `/a`, `/`.
#[derive(Debug, Clone)]
pub struct PathParentIterator<'a> {
    path: &'a str,
}

impl<'a> PathParentIterator<'a> {
    /// Begins with `path` itself. Any text is allowed; one without a leading slash has no parents.
    pub fn for_all(path: &'a str) -> PathParentIterator<'a> {
        PathParentIterator { path }
    }
}

impl<'a> Iterator for PathParentIterator<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let path = self.path;
        if path.is_empty() {
            return None;
        }
        self.path = match path.rsplit_once('/') {
            _ if path == "/" => "",
            Some(("", _)) => "/",
            Some((parent, _)) => parent,
            None => "",
        };
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_follow_up_to_the_root() {
        let check = |path: &str, expected: &[&str]| {
            assert_eq!(PathParentIterator::for_all(path).collect::<Vec<_>>(), expected, "{path}");
        };
        check("/a/b/c", &["/a/b/c", "/a/b", "/a", "/"]);
        check("/a", &["/a", "/"]);
        check("/", &["/"]);
        check("", &[]);
        check("foo", &["foo"]);
        check("//", &["//", "/"]);
    }
}
