//! Step 5a, what a term costs: pure functions of raw logits, unweighted.
