SELECT as_of FROM online.served
