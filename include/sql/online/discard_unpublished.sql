DELETE FROM online.builds WHERE state = 'writing'
