"""What is installed is locked: every package, at one version, with its hashes, from no named place."""

import re
from pathlib import Path

import pytest

from dev import lock

FOLDERS = [*lock.functions(), lock.DEV]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(folder: Path) -> dict[str, str]:
    """Versions by package."""
    lines = lock.versions(folder / "requirements.txt")
    return {canonical(name): version for line in lines for name, version in [line.split()[0].split("==")]}


def direct(folder: Path) -> dict[str, str]:
    """Versions of the direct packages."""
    lines = re.sub(r"#.*", "", (folder / "requirements.in").read_text()).split()
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][0-9a-z.]*)", line) for line in lines]
    assert all(found), lines
    return {canonical(match[1]): match[2] for match in found}


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def test_a_lock_has_all_required_packages(folder):
    versions = locked(folder)
    for name, version in direct(folder).items():
        assert versions[name] == version, f"{name}=={version}; run make lock"


def test_every_locked_package_has_hashes_and_no_url(folder):
    text = (folder / "requirements.txt").read_text()
    packages = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(packages) > 20
    for package in packages:
        assert re.match(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]* ", package), package[:80]
        assert "--hash=sha256:" in package, package[:80]
    assert "://" not in text
    assert "index" not in text


def test_the_tests_run_on_the_versions_that_the_functions_are_deployed_with():
    tested, compared = locked(lock.DEV), 0
    for folder in lock.functions():
        if direct(folder).items() <= tested.items():  # else the function has versions of its own
            assert locked(folder).items() <= tested.items(), folder
            compared += 1
    assert compared >= 2


def test_a_requirement_that_does_not_exist_is_named(tmp_path):
    (tmp_path / "requirements.in").write_text("flask==0.0.0.0.1\n")
    with pytest.raises(lock.LockError, match="flask"):
        lock.lock(tmp_path)
    assert not (tmp_path / "requirements.txt").exists()


def test_a_lock_that_does_not_match_its_requirements_is_outdated(tmp_path):
    (tmp_path / "requirements.in").write_text("iniconfig==2.0.0\n")
    assert not lock.current(tmp_path)
    lock.lock(tmp_path)
    assert lock.current(tmp_path)
    (tmp_path / "requirements.in").write_text("iniconfig==2.1.0\n")
    assert not lock.current(tmp_path)
