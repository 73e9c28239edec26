//! Step 1, what we look at.
