"""Records, ids, states, errors: what every room shares. Never rules, never IO."""
