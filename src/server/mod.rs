//! The server: connections, the processor chain, the words. See ARCHITECTURE.md for the threads.
//!
//! Start with [`zookeeper_server`]; [`standalone`] shows how a role is put together.

pub mod blue_throttle;
pub mod cnxn;
pub mod command;
pub mod committed_log;
pub mod container_manager;
pub mod datadir_cleanup_manager;
pub mod eager_acl_check;
pub mod event_sink;
pub mod final_request_processor;
pub mod final_rules;
pub mod flush_policy;
pub mod gauges;
pub mod pause_monitor;
pub mod prep;
pub mod prep_request_processor;
pub mod read_requests;
pub mod request;
pub mod request_body;
pub mod request_path_metrics_collector;
pub mod request_processor;
pub mod request_throttler;
pub mod restore;
pub mod server_role;
pub mod server_slot;
pub mod server_stats;
pub mod snapshot_taker;
pub mod stage;
pub mod standalone;
pub mod sync_request_processor;
pub mod version;
pub mod zk_database;
pub mod zookeeper_server;
