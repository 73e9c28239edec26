//! Step 4, where student and teacher meet: the heads of HCD.
