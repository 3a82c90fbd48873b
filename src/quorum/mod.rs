//! The ensemble: election, leader, learners. `org.apache.zookeeper.server.quorum`.

pub mod packet_stream;
