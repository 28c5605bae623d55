//! A real cluster from nothing, and what is asked of Fairlead on it.
