//! nf_tables and conntrack by netlink.
