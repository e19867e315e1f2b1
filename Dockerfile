# Two images from one file:   docker build --target oned .      docker build --target operator .
#
# BASE_IMAGE is any Debian-like image with python3 >= 3.11 and its venv module.
# What is installed is pinned by hash. It comes from the package index, or, where a build container cannot
# reach one (no registry, a proxy with its own CA), from the wheels that `make image` has put into dist/wheels:
# then the index is not asked at all. A plain `docker build` with no such folder works too.
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_FIND_LINKS=/packages
# The pattern lets dist/wheels be absent: COPY fails only when no source matches.
COPY requirements/build.txt requirements/oned.txt requirements/operator.txt dist/wheel[s]/ /packages/
RUN python3 -m venv /opt/build \
    && if ls /packages/*.whl >/dev/null 2>&1; then printf "[global]\nno-index = true\n" > /opt/build/pip.conf; fi \
    && /opt/build/bin/pip install --require-hashes -r /packages/build.txt

FROM build AS oned-build
RUN python3 -m venv --without-pip /opt/onezone \
    && /opt/build/bin/pip --python /opt/onezone/bin/python install --require-hashes -r /packages/oned.txt
COPY oned/pyproject.toml oned/README.md /src/
COPY oned/src /src/src
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps -w /src/dist /src \
    && /opt/build/bin/pip --python /opt/onezone/bin/python install --no-deps /src/dist/*.whl

FROM ${BASE_IMAGE} AS oned
# Bytecode was compiled above: the root filesystem is read-only in a pod, and no start pays for it again.
ENV PATH=/opt/onezone/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 oneadmin \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/one --no-create-home --shell /usr/sbin/nologin oneadmin \
    && install -d -o oneadmin -g oneadmin -m 0750 /var/lib/one
COPY --from=oned-build /opt/onezone /opt/onezone
USER 10001:10001
EXPOSE 2633 2635 2636
ENTRYPOINT ["oned"]

FROM build AS operator-build
RUN python3 -m venv --without-pip /opt/onezone \
    && /opt/build/bin/pip --python /opt/onezone/bin/python install --require-hashes -r /packages/operator.txt
COPY operator/pyproject.toml operator/README.md /src/
COPY operator/src /src/src
RUN /opt/build/bin/pip wheel --no-build-isolation --no-deps -w /src/dist /src \
    && /opt/build/bin/pip --python /opt/onezone/bin/python install --no-deps /src/dist/*.whl

FROM ${BASE_IMAGE} AS operator
ENV PATH=/opt/onezone/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN groupadd --gid 10001 operator-run \
    && useradd --uid 10001 --gid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin operator-run
COPY --from=operator-build /opt/onezone /opt/onezone
USER 10001:10001
ENTRYPOINT ["onezone-operator"]
