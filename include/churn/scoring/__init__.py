"""From features to a probability: the one scorer that serving, the gate and grading use."""
