//! The lab: network namespaces, a cgroup, real servers and clients for tests and the demo.
