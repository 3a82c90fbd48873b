//! The reply to a write, from what applying it gave: the second half of Java's
//! `FinalRequestProcessor`. The first half, reads, is in [`read_requests`](super::read_requests).

use crate::jute::{Jute, OutputExt};
use crate::proto::multi::{MultiResponse, MultiResult};
use crate::proto::{Code, OpCode, Stat};
use crate::tree::ProcessTxnResult;

/// Appends the body of the reply to `out` and returns the code of its header. Nothing is appended
/// for createSession, which is answered by a connect response instead of a reply.
pub fn encode_write_reply(result: &ProcessTxnResult<'_>, out: &mut Vec<u8>) -> Code {
    match result.op {
        OpCode::Create => out.put_str(path(result)),
        OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => {
            out.put_str(path(result));
            stat(result).encode(out);
        }
        OpCode::SetData | OpCode::SetAcl => stat(result).encode(out),
        OpCode::Multi => {
            // A failed multi is a success in the header; its results carry the codes
            // (behaviour 27).
            MultiResponse { results: result.multi.iter().map(multi_result).collect() }.encode(out);
            return Code::Ok;
        }
        // Delete, deleteContainer, closeSession and errors are answered by the header alone.
        _ => {}
    }
    result.code
}

fn multi_result(result: &ProcessTxnResult<'_>) -> MultiResult {
    match result.op {
        OpCode::Check => MultiResult::Check,
        OpCode::Create => MultiResult::Create { path: path(result).to_owned() },
        OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => {
            MultiResult::Create2 { path: path(result).to_owned(), stat: stat(result) }
        }
        OpCode::Delete | OpCode::DeleteContainer => MultiResult::Delete,
        OpCode::SetData => MultiResult::SetData { stat: stat(result) },
        _ => MultiResult::Error(result.code),
    }
}

fn path<'t>(result: &ProcessTxnResult<'t>) -> &'t str {
    result.path.unwrap_or_default()
}

fn stat(result: &ProcessTxnResult<'_>) -> Stat {
    result.stat.unwrap_or_default()
}
