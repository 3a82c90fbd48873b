//! Requests encoded once: only the xid and the number in the path change from one to the next.

use crate::client::request_frame;
use crate::jute::Jute;
use crate::proto::messages::{
    CreateRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, SetDataRequest,
};
use crate::proto::multi::{MultiOp, MultiOperationRecord};
use crate::proto::{Acl, OpCode};

/// Digits of the number in a path.
pub const DIGITS: usize = 8;
/// Stands for the number while a request is encoded; occurs nowhere else.
const MARK: &str = "\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}";

/// An encoded request with holes for the xid and the node numbers.
#[derive(Debug, Clone)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where the numbers start.
    holes: Vec<usize>,
}

impl Template {
    fn new(op: OpCode, record: &impl Jute) -> Template {
        let bytes = request_frame(0, op.as_i32(), &record.to_bytes());
        let mut holes = Vec::new();
        let mut at = 0;
        while let Some(window) = bytes.get(at..at + DIGITS) {
            if window == MARK.as_bytes() {
                holes.push(at);
                at += DIGITS;
            } else {
                at += 1;
            }
        }
        Template { bytes, holes }
    }

    /// create of `parent/n<number>`.
    pub fn create(parent: &str, size: usize) -> Template {
        let (path, data) = (marked(parent), Some(data(size)));
        let record = CreateRequest { path, data, acl: Acl::open_unsafe(), flags: 0 };
        Template::new(OpCode::Create, &record)
    }

    /// setData of `parent/n<number>`.
    pub fn set(parent: &str, size: usize) -> Template {
        Template::new(OpCode::SetData, &set_record(marked(parent), size))
    }

    /// setData of just this node.
    pub fn set_one(path: &str, size: usize) -> Template {
        Template::new(OpCode::SetData, &set_record(path.to_owned(), size))
    }

    /// getData of `parent/n<number>`.
    pub fn get(parent: &str) -> Template {
        Template::new(OpCode::GetData, &GetDataRequest { path: marked(parent), watch: false })
    }

    /// getData of just this node with a watch.
    pub fn get_and_watch(path: &str) -> Template {
        Template::new(OpCode::GetData, &GetDataRequest { path: path.to_owned(), watch: true })
    }

    /// exists of `parent/n<number>`.
    pub fn exists(parent: &str) -> Template {
        Template::new(OpCode::Exists, &ExistsRequest { path: marked(parent), watch: false })
    }

    /// getChildren of just this node.
    pub fn children(path: &str) -> Template {
        let record = GetChildrenRequest { path: path.to_owned(), watch: false };
        Template::new(OpCode::GetChildren, &record)
    }

    /// A multi of `ops` sets of `parent/n<number>`, `<number + 1>` and so on.
    pub fn multi(parent: &str, size: usize, ops: usize) -> Template {
        let op = MultiOp::SetData(set_record(marked(parent), size));
        Template::new(OpCode::Multi, &MultiOperationRecord { ops: vec![op; ops] })
    }

    /// Appends the request with this xid, about node `number`; further nodes of a multi are those
    /// behind it, round `nodes`.
    pub fn append(&self, out: &mut Vec<u8>, xid: i32, number: u64, nodes: u64) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let Some(request) = out.get_mut(start..) else { return };
        if let Some(hole) = request.get_mut(4..8) {
            hole.copy_from_slice(&xid.to_be_bytes());
        }
        for (index, at) in self.holes.iter().enumerate() {
            let mut digits = match index {
                0 => number,
                _ => (number + index as u64) % nodes.max(1),
            };
            for byte in request.get_mut(*at..*at + DIGITS).unwrap_or_default().iter_mut().rev() {
                *byte = b'0' + (digits % 10) as u8;
                digits /= 10;
            }
        }
    }
}

/// The path of node `number` below `parent`.
pub fn node_path(parent: &str, number: u64) -> String {
    format!("{parent}/n{number:0width$}", width = DIGITS)
}

/// Data that no compression or comparison makes cheaper than a client's.
pub fn data(size: usize) -> std::sync::Arc<[u8]> {
    (0..size).map(|index| b'a' + (index % 26) as u8).collect()
}

fn set_record(path: String, size: usize) -> SetDataRequest {
    SetDataRequest { path, data: Some(data(size)), version: -1 }
}

fn marked(parent: &str) -> String {
    format!("{parent}/n{MARK}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &Template, op: OpCode, record: &impl Jute) {
        let mut out = vec![9];
        template.append(&mut out, 77, 123, 1000);
        assert_eq!(out[1..], request_frame(77, op.as_i32(), &record.to_bytes()));
    }

    #[test]
    fn a_filled_template_is_the_request() {
        let path = node_path("/p", 123);
        assert_eq!(path, "/p/n00000123");
        let get = GetDataRequest { path: path.clone(), watch: false };
        check(&Template::get("/p"), OpCode::GetData, &get);
        check(&Template::set("/p", 100), OpCode::SetData, &set_record(path.clone(), 100));
        let create = CreateRequest { path, data: Some(data(5)), acl: Acl::open_unsafe(), flags: 0 };
        check(&Template::create("/p", 5), OpCode::Create, &create);
        let children = GetChildrenRequest { path: "/p".into(), watch: false };
        check(&Template::children("/p"), OpCode::GetChildren, &children);
    }

    #[test]
    fn a_multi_is_about_consecutive_nodes() {
        let mut out = Vec::new();
        Template::multi("/p", 1, 2).append(&mut out, 1, 9, 10);
        let ops = vec![
            MultiOp::SetData(set_record(node_path("/p", 9), 1)),
            MultiOp::SetData(set_record(node_path("/p", 0), 1)),
        ];
        let record = MultiOperationRecord { ops };
        assert_eq!(out, request_frame(1, OpCode::Multi.as_i32(), &record.to_bytes()));
    }
}
