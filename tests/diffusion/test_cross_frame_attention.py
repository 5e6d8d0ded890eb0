import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from toolkit.diffusion import CrossFrameAttention
from toolkit.errors import UsageError


class OneLayer(torch.nn.Module):
    """The smallest model with self-attention."""

    def __init__(self, **options):
        super().__init__()
        self.attn1 = Attention(query_dim=24, heads=3, dim_head=8, **options)


class NaiveEquationOne:
    """softmax(Q [K_1 .. K_k]^T / sqrt(d)) [V_1 .. V_k], written out frame by frame over one batch of all frames."""

    def __init__(self, references, groups=1):
        self.references, self.groups = references, groups

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        x, shape = hidden_states, hidden_states.shape
        if x.ndim == 4:
            x = x.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
        count = len(x) // self.groups
        out = []
        for frame in range(len(x)):
            start = frame // count * count
            joined = torch.cat([x[start + r] for r in self.references])
            query, key, value = attn.to_q(x[frame]), attn.to_k(joined), attn.to_v(joined)
            heads = []
            for q, k, v in zip(query.chunk(attn.heads, -1), key.chunk(attn.heads, -1), value.chunk(attn.heads, -1)):
                q = q if attn.norm_q is None else attn.norm_q(q)
                k = k if attn.norm_k is None else attn.norm_k(k)
                heads.append(torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1) @ v)
            out.append(attn.to_out[0](torch.cat(heads, dim=-1)))
        x = torch.stack(out)
        if len(shape) == 4:
            x = x.transpose(1, 2).reshape(shape)
        if attn.residual_connection:
            x = x + hidden_states
        return x / attn.rescale_output_factor


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("options", "spatial"),
    [
        ({}, False),
        ({"bias": True, "out_bias": False, "scale_qk": True}, False),
        ({"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 1.7}, True),
        ({"qk_norm": "layer_norm", "residual_connection": True}, False),
    ],
)
def test_a_layer_equals_a_naive_implementation_of_the_equation(k, groups, options, spatial):
    model = OneLayer(**options).eval()
    frames = torch.randn(groups, 5, 24, 4, 3)
    if not spatial:
        frames = frames.flatten(3).transpose(2, 3)
    order = list(range(k))
    expected = NaiveEquationOne(order, groups)(model.attn1, frames.flatten(0, 1)).unflatten(0, (groups, 5))
    with CrossFrameAttention(model) as attention:
        attention.record(k, groups)
        first = model.attn1(frames[:, : k + 1].flatten(0, 1)).unflatten(0, (groups, k + 1))
        attention.reuse(groups)
        rest = [model.attn1(frames[:, t].contiguous())[:, None] for t in range(k + 1, 5)]
    torch.testing.assert_close(torch.cat([first, *rest], dim=1), expected, atol=1e-5, rtol=1e-5)


def test_one_frame_that_is_its_own_reference_is_plain_self_attention():
    model = OneLayer(norm_num_groups=4, residual_connection=True).eval()
    frame = torch.randn(1, 24, 5, 5)
    plain = model.attn1(frame)
    with CrossFrameAttention(model) as attention:
        attention.record(1)
        torch.testing.assert_close(model.attn1(frame), plain, atol=1e-6, rtol=1e-6)


def models_forward(unet, controlnet, sample, hint, text):
    down, mid = controlnet(sample, 300, text, controlnet_cond=hint, return_dict=False)
    return unet(
        sample,
        300,
        text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=mid,
        return_dict=False,
    )[0]


@pytest.fixture
def batch():
    """Six frames with guidance: sample, hint and text, each [2, 6, ...]."""
    sample = torch.randn(1, 6, 4, 8, 8).expand(2, -1, -1, -1, -1)
    hint = torch.rand(1, 6, 3, 64, 64).expand(2, -1, -1, -1, -1)
    text = torch.randn(2, 1, 7, 32).expand(-1, 6, -1, -1)
    return sample, hint, text


@pytest.mark.parametrize("sizes", [(6,), (2, 4), (3, 3), (2, 1, 1, 1, 1), (4, 2)])
def test_unet_and_controlnet_equal_the_naive_join_in_any_batches(parts, batch, sizes):
    unet, controlnet = parts["unet"], parts["controlnet"]
    originals = {}
    for model in (unet, controlnet):
        for name, layer in model.named_modules():
            if name.endswith("attn1"):
                originals[layer] = layer.processor
                layer.set_processor(NaiveEquationOne([0, 1], groups=2))
    expected = models_forward(unet, controlnet, *(part.flatten(0, 1) for part in batch))
    for layer, processor in originals.items():
        layer.set_processor(processor)
    plain = models_forward(unet, controlnet, *(part.flatten(0, 1) for part in batch))

    found, start = [], 0
    with CrossFrameAttention(unet, controlnet) as attention:
        for size in sizes:
            if start == 0:
                attention.record(references=2, groups=2)
            else:
                attention.reuse(groups=2)
            chosen = [part[:, start : start + size].flatten(0, 1) for part in batch]
            found.append(models_forward(unet, controlnet, *chosen).unflatten(0, (2, size)))
            start += size
    found = torch.cat(found, dim=1).flatten(0, 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert abs(plain - expected).max() > 1e-3


def test_the_halves_of_guidance_are_independent(unet):
    sample, text = torch.randn(4, 4, 8, 8), torch.randn(4, 7, 32)
    other = sample.clone()
    other[:2] += 1
    with CrossFrameAttention(unet) as attention:
        attention.record(references=1, groups=2)
        first, second = (unet(s, 300, text, return_dict=False)[0] for s in (sample, other))
    assert torch.equal(first[2:], second[2:]) and not torch.allclose(first[:2], second[:2])


def test_keys_are_computed_for_the_references_alone_and_once(unet):
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    seen = []
    hooks = [
        projection.register_forward_hook(lambda m, i, o: seen.append(len(i[0])))
        for projection in (layer.to_k, layer.to_v)
    ]
    sample, text = torch.randn(8, 4, 8, 8), torch.randn(8, 7, 32)
    with CrossFrameAttention(unet) as attention:
        attention.record(references=2, groups=2)
        unet(sample, 300, text)
        attention.reuse(groups=2)
        for _ in range(3):
            unet(sample, 300, text)
    for hook in hooks:
        hook.remove()
    assert seen == [4, 4]


def test_the_original_processors_come_back_even_after_an_error(parts):
    unet, controlnet = parts["unet"], parts["controlnet"]
    before = {**unet.attn_processors, **{f"c.{k}": v for k, v in controlnet.attn_processors.items()}}
    with pytest.raises(ZeroDivisionError), CrossFrameAttention(unet, controlnet):
        changed = {name for name, processor in unet.attn_processors.items() if processor is not before[name]}
        assert changed == {name for name in before if "attn1" in name and not name.startswith("c.")}
        raise ZeroDivisionError
    after = {**unet.attn_processors, **{f"c.{k}": v for k, v in controlnet.attn_processors.items()}}
    assert all(after[name] is before[name] for name in before) and after.keys() == before.keys()


def test_other_attention_is_refused_and_nothing_is_changed(parts):
    unet = parts["unet"]
    with CrossFrameAttention(unet), pytest.raises(UsageError, match="CrossFrameProcessor"), CrossFrameAttention(unet):
        pass
    unet.set_attention_slice("auto")
    before = unet.attn_processors
    with (
        pytest.raises(UsageError, match=r"SlicedAttnProcessor in .*attn1.*attention slicing"),
        CrossFrameAttention(unet),
    ):
        pass
    assert unet.attn_processors == before
    unet.set_attn_processor(AttnProcessor2_0())
    fused = OneLayer()
    fused.attn1.fuse_projections()
    with pytest.raises(UsageError, match="plain attention"), CrossFrameAttention(fused):
        pass
    with pytest.raises(UsageError, match="found none"), CrossFrameAttention(AutoencoderKL()):
        pass


def test_misuse_is_explained():
    model = OneLayer()
    frames = torch.randn(4, 6, 24)
    with CrossFrameAttention(model) as attention:
        attention.reuse()
        with pytest.raises(UsageError, match="recorded pass"):
            model.attn1(frames)
        attention.record(1, groups=2)
        model.attn1(frames)
        attention.reuse(groups=1)
        with pytest.raises(UsageError, match="same groups"):
            model.attn1(frames)
        attention.record(1, groups=3)
        with pytest.raises(UsageError, match="3 equal groups"):
            model.attn1(frames)
        with pytest.raises(UsageError, match="self-attention"):
            model.attn1(frames, encoder_hidden_states=frames)
