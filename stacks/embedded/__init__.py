"""The `embedded` stack: the same services as plain processes under supervisord."""
