-- The feature services that serving can look up: Feast's own table of its SQL registry.
SELECT feature_service_name FROM feast.feature_services WHERE project_id = 'streamflow' ORDER BY feature_service_name
