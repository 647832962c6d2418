"""What a student of a teacher minimises."""

import torch

from toolkit.datasets.torch_dataset import NO_LABEL


def distillation_loss(
    logits: torch.Tensor, labels: torch.Tensor, soft_labels: torch.Tensor, weight: float, temperature: float
) -> torch.Tensor:
    """`weight` · T² · H(teacher, student) + (1 - `weight`) · H(label, student), as in Hinton et al. 2015 (arXiv:1503.02531).

    H is the cross-entropy; both distributions of the first are softened by T, whose square keeps its gradients as large as
    those of the second. A text that has no label, or of which the teacher said nothing, has one of the two terms.

    Args:
        logits: The student's, (B, k).
        labels: (B,), `NO_LABEL` where there is none.
        soft_labels: The teacher's probabilities, (B, k), all zero where it said nothing.
        weight: Over 0 to 1.
        temperature: T.

    Returns:
        The mean over the texts, ().
    """
    logits = logits.float()
    log_teacher = soft_labels.clamp_min(1e-7).log() / temperature
    teacher = torch.softmax(log_teacher, dim=-1) * soft_labels.any(dim=-1, keepdim=True)
    soft = -(teacher * torch.log_softmax(logits / temperature, dim=-1)).sum(dim=-1)  # (B,)
    hard = torch.nn.functional.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="none")  # (B,)
    return (weight * temperature**2 * soft + (1 - weight) * hard).mean()
