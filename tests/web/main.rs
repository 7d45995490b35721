//! The page of `treevisor web`: its scripts, and what a browser makes of it.

mod scripts;
