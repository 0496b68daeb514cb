from burnish.report.plots import plot_pictures


def fidelity():
    def told(windows, moving, held, **more):
        return {"windows": windows, "psnr_moving": {"model": moving, "hold_last": held}, **more}

    ssim = {"ssim": {"model": [0.01, 0.04], "hold_last": [0.02, 0.1]}}
    sources = {
        "expert": told(18, [30.0, 25.0], [5.0, 4.0], **ssim),
        "random": told(9, [28.0, None], [6.0, None], **ssim),
    }
    return {"horizon": [1, 2], "sources": sources}


def test_each_source_beside_hold_last():
    moving, perceptual = plot_pictures(fidelity())
    assert (moving.title, perceptual.title) == (
        "Imagined pictures: PSNR where something moves",
        "Imagined pictures: SSIM",
    )
    lines = perceptual.figure.axes[0].get_lines()
    assert [line.get_label() for line in lines][::2] == ["expert", "random", "hold the last picture"]
    assert [list(line.get_ydata()) for line in lines[:2]] == [[0.01, 0.04], [0.02, 0.1]]
    assert [line.get_linestyle() for line in lines[:2]] == ["-", "--"]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert "expert 0.04, hold-last 0.1; random 0.04, hold-last 0.1" in perceptual.alt
    assert "18 expert, 9 random" in perceptual.caption and "higher is better" in perceptual.caption


def test_a_number_that_is_missing_is_a_gap():
    moving, _ = plot_pictures(fidelity())
    values = moving.figure.axes[0].get_lines()[2].get_ydata()
    assert values[0] == 28 and values[1] != values[1]
    assert "random not known, hold-last not known" in moving.alt
