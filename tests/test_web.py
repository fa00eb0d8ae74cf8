"""The web page in a real browser: Debian's chromium, driven by Playwright, without a network."""

import base64
import contextlib
import io
import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from export import trained
from export.web import litert, site
from export.web.browser import chromium
from export.web.serving import server
from vunet_tf.body import pose_weights
from vunet_tf.body.skeleton import JOINT_INDEX
from vunet_tf.body.stickman import draw_stickman
from vunet_tf.files import pictures
from vunet_tf.files.errors import InputError
from vunet_tf.files.pixels import to_float, to_uint8
from vunet_tf.people import draw, sample_look, sample_pose

DOCUMENT = Path(site.__file__).parents[2] / "docs/export.md"
READY = "#stage[aria-busy=false]"
STATE = """import('./main.js').then(({ state }) =>
    ({ frames: state.frames, joints: state.shown.joints, z: state.shown.z.map((values) => [...values]) }))"""
SETTLED = "import('./main.js').then(({ state }) => state.frames > 0 && !state.painting)"
# What was changed is painted from the next animation frame on: on a slow machine not yet when the change returns.
NEXT_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def browser():
    with contextlib.ExitStack() as open_while_tested:
        try:
            started = open_while_tested.enter_context(chromium())
        except InputError as error:
            pytest.skip(str(error))
        yield started


def served(run_dir, out, **kwargs):
    """The page of a run, made and served: {url, run, folder}. It is skipped if LiteRT.js was never downloaded."""
    if not all((litert.cache() / litert.archive(name)).is_file() for name in ("core", "wasm-utils")):
        pytest.skip(f"needs LiteRT.js in {litert.cache()}: the first `python -m export.web` fetches it")
    run = trained.load(run_dir)
    site.write(run, out, count=4, **kwargs)
    serving = server(out)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    return SimpleNamespace(url=f"http://127.0.0.1:{serving.server_port}/", run=run, folder=out)


@pytest.fixture(scope="module")
def people_site(browser, laid_run, tmp_path_factory):
    """The page of a run with parts and joints, 32 pixels; with the pose estimator if its weights are there."""
    weights = [pose_weights.default_directory() / name for name in pose_weights.FILES]
    pose_model = site.FROM_CACHE if all(path.is_file() for path in weights) else None
    return served(laid_run, tmp_path_factory.mktemp("web") / "people", pose_model=pose_model)


@pytest.fixture(scope="module")
def opened(browser, people_site):
    """The open page without the pose estimator, and its requests and errors."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    about = json.loads((people_site.folder / site.ABOUT).read_text())
    page.route(f"**/{site.ABOUT}", lambda route: route.fulfill(json={**about, "pose": None}))
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(people_site.url)
    page.wait_for_selector(READY)
    yield SimpleNamespace(page=page, requests=requests, complaints=complaints)
    page.close()


@pytest.fixture
def page(opened, people_site):
    """The open page, ready. Whatever a test does, there is no error and no request to another host."""
    opened.page.wait_for_function(SETTLED)
    yield opened.page
    assert not opened.complaints
    assert all(url.startswith((people_site.url, "blob:", "data:")) for url in opened.requests)


def state(page):
    page.evaluate(NEXT_FRAMES)
    page.wait_for_function(SETTLED)
    return SimpleNamespace(**page.evaluate(STATE))


def pixels(page, selector="#picture"):
    """What a canvas shows, [side, side, 3] uint8."""
    address = page.locator(selector).evaluate("(canvas) => canvas.toDataURL('image/png')")
    return pictures.read_picture(base64.b64decode(address.partition(",")[2]))


def by_python(run, joints, z):
    """The picture that the run itself makes."""
    config = run.model.config
    joints = np.array([joint or (-1, -1) for joint in joints], np.float32)
    shape = draw_stickman(joints[None], config.image_size, config.image_size)
    latents = [np.reshape(np.float32(x), (1, *sides)) for x, sides in zip(z, config.latent_shapes, strict=True)]
    return to_uint8(run.model.generate(shape, latents)[0])


def same(shown, wanted):
    return np.abs(shown.astype(int) - wanted).max() <= 2


def drag(page, joint, x, y):
    box = page.locator(f"#stage .{joint}").bounding_box()
    start = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + x / 2, start[1] + y / 2)
    page.mouse.move(start[0] + x, start[1] + y)
    page.mouse.up()


def test_a_dragged_joint_changes_the_picture_as_python_does(page, people_site):
    before, picture = state(page), pixels(page)
    assert same(picture, by_python(people_site.run, before.joints, before.z))
    drag(page, "lshoulder", 60, -40)
    after = state(page)
    moved = {i for i, (a, b) in enumerate(zip(before.joints, after.joints, strict=True)) if a != b}
    assert moved == {JOINT_INDEX[name] for name in ("lshoulder", "lelbow", "lwrist")}
    assert not same(pixels(page), picture)
    assert same(pixels(page), by_python(people_site.run, after.joints, after.z))
    print(f"\n{page.inner_text('#speed')} a picture")


def test_keys_move_a_joint_and_its_label_tells_where_it_is(page):
    index = JOINT_INDEX["rknee"]
    before = state(page).joints
    knee = page.locator("#stage .rknee")
    knee.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    after = state(page).joints
    assert np.allclose(np.subtract(after[index], before[index]), (-0.01, -0.05))
    assert after[JOINT_INDEX["rhip"]] == before[JOINT_INDEX["rhip"]]
    x, y = (round(100 * part) for part in after[index])
    assert knee.get_attribute("aria-label") == f"right knee: {x} % from the left, {y} % from the top"


def test_nothing_leaves_the_picture(page):
    drag(page, "whole", 3000, 3000)
    joints = np.array(state(page).joints)
    assert joints.min() >= 0 and np.allclose(joints.max(axis=0), 1)


def test_a_clicked_appearance_is_worn_and_the_slider_goes_between_two(page, people_site):
    page.click(".slot >> nth=0")
    page.click("#appearances button >> nth=2")
    first = state(page)
    page.click(".slot >> nth=1")
    page.click("#appearances button >> nth=3")
    second = state(page)
    page.locator("#blend").fill("0.25")
    between = state(page)
    assert np.allclose(between.z[0], 0.75 * np.array(first.z[0]) + 0.25 * np.array(second.z[0]), atol=1e-5)
    assert same(pixels(page), by_python(people_site.run, between.joints, between.z))


def test_a_part_is_exchanged_and_the_others_stay(page, people_site):
    page.click(".slot >> nth=0")
    page.click("#appearances button >> nth=0")
    whole = state(page)
    name = page.evaluate("fetch('page.json').then((x) => x.json()).then((x) => Object.entries(x.regions)[0])")
    page.get_by_label(name[0], exact=True).check(force=True)
    page.click("#appearances button >> nth=1")
    mixed = state(page)
    page.get_by_label("everything", exact=True).check(force=True)
    page.click("#appearances button >> nth=1")
    other = state(page)
    codes = [np.reshape(shown.z[0], people_site.run.model.config.latent_shapes[0]) for shown in (whole, mixed, other)]
    exchanged = np.isin(np.arange(len(codes[0])), name[1])
    assert (codes[1] == np.where(exchanged[:, None], codes[2], codes[0])).all() and (codes[0] != codes[2]).any()


def test_surprise_me_draws_another_appearance_each_time(page, people_site):
    count, seen = page.locator("#appearances button").count(), []
    for i in range(1, 3):
        page.click("#surprise")
        page.wait_for_function(f"document.querySelectorAll('#appearances button').length === {count + i}")
        seen.append(state(page))
    assert seen[0].z != seen[1].z
    assert same(pixels(page), by_python(people_site.run, seen[1].joints, seen[1].z))
    assert same(pixels(page, "#appearances button:last-child canvas"), pixels(page))


def moves_to(page, wanted):
    """Waits until the body is in a pose, [15, 2] fractions, -1 where a joint is unseen."""
    for _ in range(200):
        joints = [joint or (-1, -1) for joint in state(page).joints]
        if np.allclose(joints, wanted, atol=1e-6):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"{joints} instead of {wanted}")


def test_a_pose_is_clicked_and_dances_while_the_feet_stay(page):
    page.click("#shapes button >> nth=1")
    wanted = page.evaluate("fetch('page.json').then((x) => x.json()).then((x) => x.shapes[1].joints)")
    moves_to(page, wanted)
    frames = state(page).frames
    page.click("#dance")
    page.wait_for_function(f"import('./main.js').then(({{ state }}) => state.frames > {frames + 5})")
    told = r"/^[\d.]+ ms a picture, \d+ frames\/s$/"
    page.wait_for_function(f"() => {told}.test(document.querySelector('#speed').innerText)")
    page.click("#dance")
    danced = state(page).joints
    assert danced[JOINT_INDEX["lwrist"]] != wanted[JOINT_INDEX["lwrist"]]
    assert np.allclose(danced[JOINT_INDEX["lankle"]], wanted[JOINT_INDEX["lankle"]])


def test_a_photograph_is_read_as_python_reads_it_and_a_broken_one_is_named(page, people_site):
    upload = page.locator("#photo input")
    upload.set_input_files({"name": "me.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    page.wait_for_selector("#message:not([hidden])")
    assert "me.jpg is no picture that this browser can read" in page.inner_text("#message")

    picture, content = draw(sample_look(3, 1), sample_pose(3, 1), 32).image, io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    joints = state(page).joints
    upload.set_input_files({"name": "me.png", "mimeType": "image/png", "buffer": content.getvalue()})
    page.click("#fit button.main")
    page.wait_for_selector("#appearances button[aria-label='photograph me.png'][aria-pressed=true]")
    shape = draw_stickman(np.float32([joints]), 32, 32)
    (z,) = people_site.run.model.encode({"image": to_float(picture[None]), "shape": shape})
    assert np.allclose(state(page).z[0], np.ravel(z), atol=1e-4)
    assert not page.is_visible("#message")


@pytest.fixture(scope="module")
def photo_page(browser, blazepose, photos_dir, people_site):
    """The open page with the pose estimator. It asks no other host."""
    page, requests = browser.new_page(), []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(people_site.url)
    page.wait_for_selector(READY)
    yield page
    assert all(url.startswith((people_site.url, "blob:", "data:")) for url in requests)
    assert any(f"/{site.POSE}/" in url for url in requests)
    page.close()


def told_of(page, picture, name):
    """What the page says about a photograph after it has looked for the person."""
    content = pictures.encode(picture, "png")
    page.locator("#photo input").set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    page.wait_for_selector("#fit[open][aria-busy=false]")
    return page.inner_text("#found")


def found_joints(page):
    """The joints that the dialog shows, [15, 2] fractions; -1 where one is unseen."""
    script = "(all) => all.map((x) => x.hidden ? [-100, -100] : [parseFloat(x.style.left), parseFloat(x.style.top)])"
    return np.array(page.locator("#fit .joint:not(.whole)").evaluate_all(script)) / 100


@pytest.mark.parametrize("kind", ["standing", "lying", "large"])
def test_the_page_finds_the_person_as_python_does(photo_page, people_site, blazepose, photos_dir, kind):
    picture = pictures.read_picture(photos_dir / "images/coco_210845.jpg")
    if kind == "lying":  # in a picture that is not square
        picture = np.pad(np.rot90(picture), [(0, 0), (33, 50), (0, 0)], mode="edge")
    elif kind == "large":  # it is made smaller before the networks see it
        picture = np.pad(picture.repeat(3, axis=0).repeat(3, axis=1), [(0, 0), (99, 150), (0, 0)], mode="edge")
    assert "The person was found" in told_of(photo_page, picture, kind)
    shown, joints = pixels(photo_page, "#fit canvas"), found_joints(photo_page)
    fitting = people_site.run.fitting._replace(size=len(shown))
    wanted = fitting.photograph(kind, picture, blazepose.the_person(picture))
    assert ((joints < 0) == (wanted.joints < 0)).all()
    scale = 256 * len(shown) / max(picture.shape)  # from the square to pixels of a picture of 256
    assert np.hypot(*(scale * (joints - wanted.joints)).T).max() < 1
    assert np.abs(shown.astype(float) - pictures.read_picture(wanted.image)).mean() < 1
    photo_page.click("#fit button[value=pose]")
    photo_page.wait_for_selector(f"#shapes button[aria-label='pose of {kind}']")
    moves_to(photo_page, joints)


def test_a_picture_without_a_person_is_told(photo_page):
    before = state(photo_page).joints
    told = told_of(photo_page, np.full((120, 200, 3), 200, np.uint8), "wall")
    assert "No person with shoulders and hips was found in this picture" in told
    assert np.allclose(found_joints(photo_page), np.array([joint or (-1, -1) for joint in before]), atol=1e-6)
    photo_page.click("#fit button[value=cancel]")
    assert state(photo_page).joints == before


def test_the_picture_is_saved(page):
    with page.expect_download() as download:
        page.click("#download")
    with Image.open(download.value.path()) as saved:
        assert saved.size == (512, 512) and np.ptp(np.asarray(saved)) > 0


def test_on_a_narrow_screen_nothing_sticks_out_and_a_finger_drags(browser, people_site):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(people_site.url)
    page.wait_for_selector(READY)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    before = state(page).joints
    box = page.locator("#stage .lknee").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = context.new_cdp_session(page)
    for kind, points in (("Start", [(x, y)]), ("Move", [(x + 20, y)]), ("Move", [(x + 30, y)]), ("End", [])):
        given = {"type": f"touch{kind}", "touchPoints": [{"x": x, "y": y} for x, y in points]}
        fingers.send("Input.dispatchTouchEvent", given)
    assert state(page).joints[JOINT_INDEX["lknee"]][0] > before[JOINT_INDEX["lknee"]][0] + 0.05
    context.close()


@pytest.mark.parametrize(
    "lost",
    ["page.json", "wardrobe.js", "model/vunet_float32.tflite", "litert/core/wasm/litert_wasm_compat_internal.js"],
)
def test_a_lost_file_of_the_page_is_named(browser, people_site, lost):
    page = browser.new_page()
    page.route(f"**/{lost}", lambda route: route.fulfill(status=404))
    page.goto(people_site.url)
    page.wait_for_selector("#message:not([hidden])")
    assert lost in page.inner_text("#message")
    page.close()


def test_a_server_that_sends_its_own_page_for_a_lost_model_is_told(browser, people_site):
    page = browser.new_page()
    page.route("**/model/vunet_float32.tflite", lambda route: route.fulfill(body="<!doctype html>"))
    page.goto(people_site.url)
    page.wait_for_selector("#message:not([hidden])")
    assert page.inner_text("#message").startswith(
        "model/vunet_float32.tflite is no model: the server sent something else"
    )
    assert page.locator("button.model:enabled").count() == 0
    page.close()


@pytest.mark.parametrize("size_is_told", [True, False])
def test_the_page_says_how_much_of_the_model_has_come(browser, people_site, size_is_told):
    page = browser.new_page()
    page.add_init_script("""
        self.told = [];
        addEventListener("DOMContentLoaded", () => new MutationObserver(() =>
            told.push(document.getElementById("loaded")?.textContent)
        ).observe(document.getElementById("waiting"), { childList: true, subtree: true }));
    """)
    weights = (people_site.folder / "model/vunet_float32.tflite").read_bytes()
    if not size_is_told:  # a server that compresses files tells the size of what it sends, which is another one
        headers = {"content-encoding": "identity"}
        page.route("**/vunet_float32.tflite", lambda way: way.fulfill(body=weights, headers=headers))
    page.goto(people_site.url)
    page.wait_for_selector(READY)
    megabytes = f"{len(weights) / 1e6:.1f} MB"
    assert (f"100 % of {megabytes}" if size_is_told else megabytes) in page.evaluate("told")
    page.close()


def test_from_the_disk_the_page_asks_for_a_server(browser, people_site):
    page = browser.new_page()
    page.goto((people_site.folder / "index.html").as_uri())
    page.wait_for_selector("#message:not([hidden])")
    assert page.inner_text("#message").startswith("Browsers open this page only from a server")
    assert page.inner_text("#waiting") == ""
    page.close()


def test_a_page_of_ones_own_dresses_a_pose(browser, people_site):
    """The example in docs/export.md."""
    (own,) = re.findall(r"^```html\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    page = browser.new_page()
    page.route("**/own.html", lambda route: route.fulfill(body=own, content_type="text/html"))
    page.goto(f"{people_site.url}own.html")
    page.wait_for_selector("#dressed[data-ready]")
    about = json.loads((people_site.folder / site.ABOUT).read_text())
    wanted = by_python(people_site.run, about["shapes"][0]["joints"], about["appearances"][0]["z"])
    assert same(pixels(page, "#dressed"), wanted)
    page.close()


def test_the_javascript_for_cameras_does_what_the_python_beside_it_does(browser, people_site):
    text = DOCUMENT.read_text()
    python, javascript = (
        re.search(rf"^### From a camera\n.*?^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
        for language in ("python", "js")
    )
    about = json.loads((people_site.folder / site.ABOUT).read_text())
    random = np.random.default_rng(0)
    marks = [dict(zip(("x", "y", "visibility"), map(float, random.uniform(0, 1, 3)), strict=True)) for _ in range(33)]
    page = browser.new_page()
    found = page.evaluate(
        f"""([marks, about]) => {{
            {javascript}
            const points = pointsOf(marks, 640, 480);
            const square = squareAround(points, about);
            return [square, jointsIn(square, points, about)];
        }}""",
        [marks, about],
    )
    page.close()
    names = {}
    exec(python, names)
    points = names["points_of"]([SimpleNamespace(**mark) for mark in marks], 640, 480)
    square = names["square_around"](points, about)
    np.testing.assert_allclose(found[0], square)
    joints = np.array([joint or [np.nan, np.nan] for joint in found[1]])
    np.testing.assert_allclose(joints, names["joints_in"](square, points, about)[0], rtol=1e-5)
    assert 0 < np.isnan(joints).sum() < 22


def test_another_page_is_not_overwritten(people_site, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(InputError, match=r"has an index\.html that export.web did not write"):
        site.write(people_site.run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
    with pytest.raises(InputError, match=r"index\.html is a file: name a folder"):
        site.write(people_site.run, tmp_path / "index.html")
    assert (tmp_path / "index.html").read_text() == "mine"


def test_the_page_runs_no_text_as_program_and_asks_no_other_host(browser, people_site):
    page = browser.new_page()
    page.goto(people_site.url)
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'self.ran = 1' }))"
    )
    assert page.evaluate("self.ran") is None
    blocked = "fetch('http://localhost:9').catch(() => 'blocked')"
    page.evaluate("addEventListener('securitypolicyviolation', (event) => { self.told = event.violatedDirective; })")
    assert page.evaluate(blocked) == "blocked" and page.evaluate("self.told") == "connect-src"
    (policy,) = re.findall('Content-Security-Policy" content="(.+?)"', (people_site.folder / "index.html").read_text())
    assert "'unsafe-eval'" not in policy and "'unsafe-inline'" not in policy
    page.close()


def test_all_but_the_weights_is_small(people_site):
    sizes = [path.stat().st_size for path in people_site.folder.rglob("*") if path.is_file()]
    weights = [people_site.folder / "model/vunet_float32.tflite", *(people_site.folder / site.POSE).glob("*.tflite")]
    assert sum(sizes) - sum(path.stat().st_size for path in weights) < 12e6


def test_where_there_are_no_joints_a_shape_map_is_chosen(browser, maps_run, tmp_path_factory):
    made = served(maps_run, tmp_path_factory.mktemp("web") / "maps", sample=False)
    page = browser.new_page()
    page.goto(made.url)
    page.wait_for_selector(READY)
    assert page.locator(".joint").count() == 0 and not page.is_visible("#surprise") and not page.is_visible("#parts")
    page.click("#shapes button >> nth=1")
    shown = state(page)
    with Image.open(made.folder / "shapes/1.png") as image:
        shape = to_float(np.asarray(image)[None, ..., :1])
    config = made.run.model.config
    z = [np.reshape(np.float32(x), (1, *sides)) for x, sides in zip(shown.z, config.latent_shapes, strict=True)]
    assert same(pixels(page), to_uint8(made.run.model.generate(shape, z)[0]))
    page.close()
    with pytest.raises(InputError, match=r"--pose_model: the run is on shape maps, not on joints; leave it out"):
        site.write(made.run, made.folder, pose_model=site.FROM_CACHE)


def test_a_model_with_joints_but_without_parts_has_a_page_without_regions(figures_run):
    assert trained.describe(trained.load(figures_run))["regions"] == {}


def test_the_pose_estimator_needs_its_weights(people_site, tmp_path):
    with pytest.raises(InputError, match=r"pose_detection\.tflite .*; --pose_model=.*: name a folder that has it"):
        site.write(people_site.run, tmp_path / "site", pose_model=tmp_path)
    assert not (tmp_path / "site").exists()


def test_packages_of_litert_are_the_ones_with_the_hash(tmp_path):
    with pytest.raises(InputError, match=r"--litert: cannot read .*litertjs-core.*npm pack @litertjs/core@"):
        litert.files(tmp_path)
    (tmp_path / litert.archive("core")).write_bytes(b"another one")
    with pytest.raises(InputError, match=r"is not @litertjs/core .*: its hash is different"):
        litert.files(tmp_path)
