"""What tests need and others may use too: building masks from specs, drawing random expressions."""
