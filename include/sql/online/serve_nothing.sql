DELETE FROM online.served
