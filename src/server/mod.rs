//! The server: connections, the processor chain, the words. See ARCHITECTURE.md for the threads.

pub mod blue_throttle;
pub mod cnxn;
pub mod container_manager;
pub mod datadir_cleanup_manager;
pub mod final_rules;
pub mod pause_monitor;
pub mod prep;
pub mod read_requests;
pub mod request_body;
pub mod request_path_metrics_collector;
pub mod request_throttler;
pub mod server_stats;
