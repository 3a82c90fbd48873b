//! `zabkeeper compare`: drives two servers with the same requests and compares all that they answer,
//! byte for byte after masking what must differ. `docs/COMPARE.md` says how to use it.
//!
//! A [`Script`](script::Script) is what is asked; a [`Driver`](driver::Driver) takes its steps
//! against one [`Side`](side::Side) and makes a [`Transcript`](transcript::Transcript);
//! [`compare`](difference::compare) finds the differences of two. [`mask`] says what is not compared,
//! [`deliberate`] which differences are meant to be. All that is found ends in a
//! [`Report`](report::Report).

pub mod args;
pub mod command;
pub mod data_dirs;
pub mod deliberate;
pub mod difference;
pub mod driver;
pub mod flavor;
pub mod frame_splitter;
pub mod launch;
pub mod mask;
pub mod output;
pub mod pair;
pub mod port;
pub mod process;
pub mod random;
pub mod record;
pub mod recording;
pub mod recording_proxy;
pub mod recording_script;
pub mod render;
pub mod replay;
pub mod report;
pub mod report_command;
pub mod run;
pub mod scenarios;
pub mod script;
pub mod shrink;
pub mod side;
pub mod side_spec;
pub mod stage;
pub mod transcript;
pub mod wire;
pub mod words;

pub use args::run;
