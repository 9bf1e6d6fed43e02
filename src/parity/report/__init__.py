"""Results of checks: terminal, JUnit, one HTML page, and the receipt that a promotion asks for."""
