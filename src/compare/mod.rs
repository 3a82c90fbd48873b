//! `zabkeeper compare`: two servers side by side.

pub mod frame_splitter;
pub mod recording;
pub mod recording_proxy;
pub mod report;
