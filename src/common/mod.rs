//! Shared small things: paths, time, threads, configuration.
