"""`make production-test`: the deployment of docker-compose.yml as processes on this machine, broken while it works.

The file itself is read, so that the file is what is tested; hosts, ports and folders alone are others here. Nothing of
this is a part of `make test`: it takes minutes, PostgreSQL, Redis, SeaweedFS and both processors.
"""
